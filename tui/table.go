package tui

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is what the screen shows as rows, for other programs. A cell is a
// string, a bool, an int, or a float32 or float64; NaN stands for a figure that
// does not exist.
type table struct {
	columns []string
	rows    [][]any
}

func (t *table) add(cells ...any) { t.rows = append(t.rows, cells) }

// cellText writes a cell; none is what stands for a figure that does not exist.
func cellText(v any, none string) string {
	f, bits := number(v)
	switch {
	case bits == 0:
		return fmt.Sprint(v)
	case math.IsNaN(f):
		return none
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(fmt.Sprint(f)), "+")
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

// number returns a floating-point cell and its size; 0 bits if it is none.
func number(v any) (f float64, bits int) {
	switch v := v.(type) {
	case float32:
		return float64(v), 32
	case float64:
		return v, 64
	}
	return 0, 0
}

// csv writes RFC 4180 with a line of heads.
func (t *table) csv() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(t.columns) // a buffer takes everything
	for _, row := range t.rows {
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = cellText(v, "")
		}
		_ = w.Write(line)
	}
	w.Flush()
	return b.Bytes()
}

// json writes an array of objects, their fields in the order of the columns.
// Figures that do not exist or are infinite are null.
func (t *table) json() []byte {
	var b bytes.Buffer
	b.WriteByte('[')
	for r, row := range t.rows {
		if r > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n ")
		for i, v := range row {
			value, err := json.Marshal(v)
			if err != nil { // JSON has no NaN and no infinity
				value = []byte("null")
			}
			b.WriteString([]string{"{", ", "}[min(i, 1)])
			fmt.Fprintf(&b, "%q: %s", t.columns[i], value)
		}
		b.WriteByte('}')
	}
	b.WriteString("\n]\n")
	return b.Bytes()
}

// markdown writes a table whose columns also line up as plain text.
func (t *table) markdown() []byte {
	cells := [][]string{t.columns}
	for _, row := range t.rows {
		line := make([]string, len(row))
		for i, v := range row {
			if f, bits := number(v); bits > 0 && !math.IsNaN(f) && !math.IsInf(f, 0) {
				v = strconv.FormatFloat(f, 'g', 4, bits)
			}
			line[i] = strings.ReplaceAll(clean(cellText(v, "–")), "|", `\|`)
		}
		cells = append(cells, line)
	}
	widths := make([]int, len(t.columns))
	for _, line := range cells {
		for i, s := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var b bytes.Buffer
	for r, line := range cells {
		for i, s := range line {
			b.WriteString("| " + s + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s)+1))
		}
		b.WriteString("|\n")
		if r == 0 {
			for _, n := range widths {
				b.WriteString("|" + strings.Repeat("-", n+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.Bytes()
}
