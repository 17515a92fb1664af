package merge

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mergescope/loader"
	"mergescope/quant"
)

// Statistics of layers' inputs are kept in a safetensors file: for every group of
// layers that share an input the upper half of H = E[x x^T] by rows, in float32,
// as a vector [n (n+1) / 2] that has the name of the first of them. x are the
// inputs with the adapters kept separate, so they depend on the model, on the
// adapters with their scales and on the text, and on nothing a plan says else.
const (
	statisticsFile = "statistics.safetensors" // in a directory

	statisticsVersion = "mergescope_statistics" // keys of the metadata
	statisticsModel   = "model"
	statisticsAdapter = "adapters"
	statisticsText    = "text"
	statisticsTokens  = "tokens"
	statisticsShares  = "shares:" // and a layer: whose tensor it shares
)

// errStatistics is in the chain of errors of a file of statistics.
var errStatistics = errors.New("statistics")

func statisticsError(file string, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", errStatistics, file, fmt.Errorf(format, args...))
}

// statisticsPath is the file that a plan's "statistics" names: itself, or one in a
// directory of that name.
func statisticsPath(name string) string {
	if strings.HasSuffix(name, ".safetensors") {
		return name
	}
	return filepath.Join(name, statisticsFile)
}

// identity says of what statistics are.
type identity struct {
	Model    string // digest of the checkpoint's tensors, see modelDigest
	Adapters string // of the adapters, and at which scale they are on which layer
	Text     string // of the token ids
	Tokens   int
}

func (x identity) metadata() map[string]string {
	return map[string]string{
		statisticsVersion: "1", statisticsModel: x.Model, statisticsAdapter: x.Adapters,
		statisticsText: x.Text, statisticsTokens: strconv.Itoa(x.Tokens),
	}
}

// statistics are those of an open file. They are safe for concurrent use.
type statistics struct {
	identity
	name   string
	file   *loader.File
	closer io.Closer
}

// openStatistics opens a file and checks its form. One that is not there is
// fs.ErrNotExist.
func openStatistics(name string) (*statistics, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	var s *statistics
	if err == nil {
		s, err = newStatistics(f, info.Size(), name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	s.closer = f
	return s, nil
}

func newStatistics(r io.ReaderAt, size int64, name string) (*statistics, error) {
	f, err := loader.NewFile(r, size, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStatistics, err)
	}
	s := &statistics{name: name, file: f}
	m := f.Metadata
	if v := m[statisticsVersion]; v != "1" {
		return nil, statisticsError(name, "it holds no statistics of version 1 that this program wrote (%s is %q)", statisticsVersion, v)
	}
	s.Model, s.Adapters, s.Text = m[statisticsModel], m[statisticsAdapter], m[statisticsText]
	if s.Tokens, err = strconv.Atoi(m[statisticsTokens]); err != nil || s.Tokens < 1 {
		return nil, statisticsError(name, "metadata: %s is %q, want how many tokens were observed", statisticsTokens, m[statisticsTokens])
	}
	return s, nil
}

// Close closes the file.
func (s *statistics) Close() error { return s.closer.Close() }

// check compares with what a run is of; an empty Text is not known yet.
func (s *statistics) check(want identity) error {
	for _, f := range [...]struct{ what, got, want string }{
		{"of another model", s.Model, want.Model},
		{"of other adapters, or of the same on other layers or at another scale", s.Adapters, want.Adapters},
		{"of another text", s.Text, cmp.Or(want.Text, s.Text)},
	} {
		if f.got != f.want {
			return statisticsError(s.name, "they are %s (its metadata say %q, this run has %q): name another file to observe the layers anew", f.what, f.got, f.want)
		}
	}
	return nil
}

// tensor is that of a layer with so many inputs.
func (s *statistics) tensor(layer string, cols int) (*loader.Tensor, error) {
	t := s.file.Tensor(cmp.Or(s.file.Metadata[statisticsShares+layer], layer))
	switch {
	case t == nil:
		return nil, statisticsError(s.name, "no tensor for layer %s", layer)
	case t.DType != "F32" || len(t.Shape) != 1 || t.Numel() != packedSize(cols):
		return nil, statisticsError(s.name, "tensor %s: %s %v, for the %d inputs of layer %s it must be F32 [%d]", t.Name, t.DType, t.Shape, cols, layer, packedSize(cols))
	}
	return t, nil
}

// packedSize is how many values half of a symmetric matrix has.
func packedSize(cols int) int64 { return int64(cols) * int64(cols+1) / 2 }

// moments reads a tensor.
func (s *statistics) moments(t *loader.Tensor, cols int, m *quant.Moments) error {
	r := bufio.NewReaderSize(io.NewSectionReader(t, 0, t.Size), 1<<20)
	raw, row := make([]byte, 4*cols), make([]float32, cols)
	for i := range cols {
		n := cols - i
		if _, err := io.ReadFull(r, raw[:4*n]); err != nil {
			return fmt.Errorf("%w: %w", errStatistics, err)
		}
		quant.DecodeFloats(row[:n], raw[:4*n], quant.F32)
		if bad, at := nonFinite(row[:n]); bad > 0 {
			return statisticsError(s.name, "tensor %s: element %d, %d is not finite", t.Name, i, i+at)
		}
		if row[0] < 0 {
			return statisticsError(s.name, "tensor %s: element %d, %d is the mean of squares and is %v", t.Name, i, i, row[0])
		}
		m.SetUpper(i, row[:n])
	}
	return nil
}

// statisticsWriter writes a file that is absent under its name until it is whole.
type statisticsWriter struct {
	name   string
	file   *os.File
	layout *layout
}

// newStatisticsWriter lays out a file for groups of layers with so many inputs each.
func newStatisticsWriter(name string, of identity, groups [][]string, cols []int) (*statisticsWriter, error) {
	metadata := of.metadata()
	var tensors []outTensor
	for k, g := range groups {
		for _, layer := range g[1:] {
			metadata[statisticsShares+layer] = g[0]
		}
		n := packedSize(cols[k])
		tensors = append(tensors, outTensor{name: g[0], dtype: "F32", shape: []int64{n}, size: 4 * n})
	}
	w := &statisticsWriter{name: name}
	var err error
	if w.layout, err = newLayout(metadata, tensors); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	if w.file, err = os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp"); err != nil {
		return nil, err
	}
	none := func(*slot) int64 { return 0 }
	err = w.file.Chmod(0o644)
	if err == nil {
		_, err = w.file.Write(w.layout.header(none))
	}
	if err == nil {
		err = w.file.Truncate(w.layout.size(none))
	}
	if err != nil {
		w.drop()
		return nil, err
	}
	return w, nil
}

// put stores the moments of a group.
func (w *statisticsWriter) put(name string, m *quant.Moments) error {
	at := slices.IndexFunc(w.layout.slots, func(s *slot) bool { return s.name == name })
	if at < 0 {
		return statisticsError(w.name, "layer %s was not to be observed", name)
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(w.file, w.layout.start()+w.layout.slots[at].off), 1<<20)
	row, raw := make([]float32, m.Cols()), make([]byte, 4*m.Cols())
	for i := range m.Cols() {
		n := m.Cols() - i
		m.Upper(row[:n], i)
		if bad, k := nonFinite(row[:n]); bad > 0 {
			return fmt.Errorf("%s: inputs %d and %d: %w", name, i, i+k, quant.ErrMoments)
		}
		quant.EncodeFloats(raw[:4*n], row[:n], quant.F32)
		if _, err := out.Write(raw[:4*n]); err != nil {
			return statisticsError(w.name, "tensor %s: %w", name, err)
		}
	}
	if err := out.Flush(); err != nil {
		return statisticsError(w.name, "tensor %s: %w", name, err)
	}
	return nil
}

// finish gives the file its name.
func (w *statisticsWriter) finish() error {
	err := w.file.Sync()
	if e := w.file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(w.file.Name(), w.name)
	}
	if err != nil {
		w.drop()
	}
	return err
}

// drop removes what was written.
func (w *statisticsWriter) drop() {
	w.file.Close()
	_ = os.Remove(w.file.Name()) // there is nothing to do about what cannot be removed
}

// modelDigest tells checkpoints apart without reading them: by the names, types
// and shapes of all tensors and 4 KiB from the middle of each.
func modelDigest(c *loader.Checkpoint) (string, error) {
	const sample = 4096
	var all []*loader.Tensor
	for _, f := range c.Files {
		all = append(all, f.Tensors...)
	}
	slices.SortFunc(all, func(a, b *loader.Tensor) int { return cmp.Compare(a.Name, b.Name) })
	h, buf := sha256.New(), make([]byte, sample)
	for _, t := range all {
		fmt.Fprintf(h, "%q %s %v\n", t.Name, t.DType, t.Shape)
		n := min(sample, t.Size)
		if err := t.ReadFull(buf[:n], (t.Size-n)/2); err != nil {
			return "", err
		}
		h.Write(buf[:n])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// adaptersDigest identifies adapters by their bytes, and by their scales on layers.
func adaptersDigest(ctx context.Context, used []*loader.Adapter, layers []Layer) (string, error) {
	h := sha256.New()
	for _, a := range used {
		sum, err := a.File.SHA256(ctx)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, sum)
	}
	for i := range layers {
		for _, s := range layers[i].Steps {
			fmt.Fprintf(h, "%q %d %x\n", layers[i].Weight.Name, slices.Index(used, s.Adapter), s.Scale)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// textDigest identifies token ids.
func textDigest(sequences [][]int32) (digest string, tokens int) {
	h := sha256.New()
	for _, s := range sequences {
		fmt.Fprintln(h, s)
		tokens += len(s)
	}
	return hex.EncodeToString(h.Sum(nil)), tokens
}

func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
