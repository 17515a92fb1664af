package merge

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"mergescope/loader"
)

const (
	stateName    = "mergescope-state.json"
	stateVersion = 2 // also of the layout: files of another version are not resumed
)

// state is mergescope-state.json, the record of an unfinished run. It lives in
// the output directory from before the first tensor until after the last file.
type state struct {
	Version int       `json:"version"`
	Plan    string    `json:"plan_digest"`
	Inputs  []inputID `json:"inputs"`
	// Files holds the finished tensors by output file and tensor name.
	Files map[string]map[string]record `json:"files"`

	// Weights holds the note of every finished weight; Kept names those that keep
	// the input's bytes although the plan gives them another form.
	Weights map[string]json.RawMessage `json:"weights"`
	Kept    map[string]bool            `json:"kept"`

	Complete bool `json:"complete,omitempty"` // a part: all of it is on disk
}

// record is a finished tensor.
type record struct {
	Sum  checksum `json:"checksum"`
	Size int64    `json:"size"`
	Data []byte   `json:"data,omitempty"` // of a late tensor, which has no place in an unfinished file
}

// inputID identifies an input file without reading all of it.
type inputID struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // see identify
}

func newState(plan string, inputs []inputID) *state {
	return &state{
		Version: stateVersion, Plan: plan, Inputs: inputs,
		Files: map[string]map[string]record{}, Weights: map[string]json.RawMessage{}, Kept: map[string]bool{},
	}
}

// loadState reads the state that an earlier run left under a name; nil without
// error if there is none.
func loadState(root *os.Root, name string) (*state, error) {
	b, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &state{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, refusef("%s cannot be read (%v); remove the directory to start over", name, err)
	}
	if s.Version != stateVersion {
		return nil, refusef("%s has version %d, this program resumes version %d", name, s.Version, stateVersion)
	}
	if s.Files == nil || s.Weights == nil || s.Kept == nil {
		return nil, refusef("%s is damaged; remove the directory to start over", name)
	}
	return s, nil
}

// matches says why s was left by no run of the same plan on the same input as
// want.
func (s *state) matches(want *state) error {
	if s.Plan != want.Plan {
		return refusef("it holds an unfinished run of another plan; finish that one, or choose a new directory")
	}
	if !slices.Equal(s.Inputs, want.Inputs) {
		return refusef("it holds an unfinished run on other input files; choose a new directory")
	}
	return nil
}

func (s *state) put(file, tensor string, r record) {
	if s.Files[file] == nil {
		s.Files[file] = map[string]record{}
	}
	s.Files[file][tensor] = r
}

func (s *state) save(root *os.Root, name string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writeSmall(root, name, b)
}

// writeSmall writes a file that is either absent or complete at any moment.
func writeSmall(root *os.Root, name string, data []byte) error {
	return writeStream(root, name, bytes.NewReader(data))
}

func writeStream(root *os.Root, name string, from io.Reader) error {
	if err := makeParent(root, name); err != nil {
		return err
	}
	tmp := name + ".tmp"
	// What a killed run left may be anything by now, so it is not written into.
	if err := root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		_ = root.Remove(tmp)
		return err
	}
	return syncDir(root, path.Dir(name))
}

// makeParent creates the directory of a file inside the output.
func makeParent(root *os.Root, name string) error {
	if dir := path.Dir(name); dir != "." {
		return root.MkdirAll(dir, 0o755)
	}
	return nil
}

// sample is how many bytes identify reads at each end of a tensor.
const sample = 4096

// identify digests an open file's header and both ends of each of its tensors.
// A changed weight, or a checkpoint of the same shape trained further, changes
// the digest; copying or touching the file does not.
func identify(f *loader.File) (inputID, error) {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(f.Metadata)) {
		fmt.Fprintf(h, "%q=%q\n", k, f.Metadata[k])
	}
	stamp := f.Stamp()
	fmt.Fprintf(h, "%q\n", stamp)
	buf := make([]byte, sample)
	for _, t := range f.Tensors {
		fmt.Fprintf(h, "%q %s %v %d %d\n", t.Name, t.DType, t.Shape, t.Offset, t.Size)
		if stamp != "" {
			continue // the server's word, instead of a request for each end
		}
		n := min(t.Size, sample)
		for _, off := range []int64{0, t.Size - n} {
			if err := t.ReadFull(buf[:n], off); err != nil {
				return inputID{}, err
			}
			h.Write(buf[:n])
		}
	}
	return inputID{Name: f.Rel, Size: f.Size, Digest: hex.EncodeToString(h.Sum(nil))}, nil
}

// identifyAll identifies the inputs of a merge. The configurations count too:
// they decide scales and the output's config.json.
func identifyAll(models []*loader.Checkpoint, adapters []*loader.Adapter) ([]inputID, error) {
	var ids []inputID
	for _, m := range models {
		for _, f := range m.Files {
			id, err := identify(f)
			if err != nil {
				return nil, err
			}
			ids = append(ids, id)
		}
		ids = append(ids, inputID{Name: "config.json", Size: int64(len(m.Config.Raw)), Digest: digest(m.Config.Raw)})
	}
	for _, a := range adapters {
		id, err := identify(a.File)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id, inputID{Name: a.Name, Size: int64(len(a.Config.JSON)), Digest: digest(a.Config.JSON)})
	}
	return ids, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
