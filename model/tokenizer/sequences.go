package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// ReadSequences reads a file of token ids, one sequence a line: a JSON list,
// [1, 15, 7], or ids with spaces between, 1 15 7. Empty lines are skipped. A
// file that is one JSON list of lists, over several lines or not, is read as
// well. Ids are not negative and fit 32 bits; whether a vocabulary has them
// is for the caller to check. Errors name the line.
func ReadSequences(r io.Reader) ([][]int, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	list, err := readSequences(text)
	if err == nil && len(list) == 0 {
		err = errors.New("there are no token ids")
	}
	return list, err
}

func readSequences(text []byte) (list [][]int, err error) {
	if rest, ok := bytes.CutPrefix(bytes.TrimSpace(text), []byte("[")); ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte("[")) {
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, fmt.Errorf("as a list of lists: %w", err)
		}
		for i, ids := range list {
			if err := checkIDs(ids); err != nil {
				return nil, fmt.Errorf("list %d: %w", i+1, err)
			}
		}
		return list, nil
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		ids, err := readIDs(line)
		if err == nil {
			err = checkIDs(ids)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		list = append(list, ids)
	}
	return list, nil
}

func readIDs(line string) (ids []int, err error) {
	if line[0] == '[' {
		return ids, json.Unmarshal([]byte(line), &ids)
	}
	for _, f := range strings.Fields(line) {
		id, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("%q is not a token id", f)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func checkIDs(ids []int) error {
	if len(ids) == 0 {
		return errors.New("an empty list")
	}
	for _, id := range ids {
		if id < 0 || id > math.MaxInt32 {
			return fmt.Errorf("token id %d is out of range", id)
		}
	}
	return nil
}
