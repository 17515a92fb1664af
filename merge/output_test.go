package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mergescope/loader"
	"mergescope/quant"
)

// plainTensor is a tensor as the tests' own reader sees it.
type plainTensor struct {
	dtype string
	shape []int64
	data  []byte
}

// readPlain reads a safetensors file without package loader and insists on what
// the format promises, on alignment, and on a header that fills 8-byte words.
func readPlain(t testing.TB, file string) (names []string, tensors map[string]plainTensor, metadata map[string]string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) < 8 {
		t.Fatalf("%s: %d bytes", file, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n%8 != 0 || n > uint64(len(b)-8) {
		t.Fatalf("%s: header of %d bytes in a file of %d", file, n, len(b))
	}
	data := b[8+n:]
	dec := json.NewDecoder(bytes.NewReader(b[8 : 8+n]))
	if _, err := dec.Token(); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	tensors = map[string]plainTensor{}
	covered := make([]bool, len(data))
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if key == "__metadata__" {
			if err := dec.Decode(&metadata); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			continue
		}
		var e struct {
			Dtype   string
			Shape   []int64
			Offsets [2]int64 `json:"data_offsets"`
		}
		if err := dec.Decode(&e); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := key.(string)
		width := map[string]int64{"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "I8": 1}[e.Dtype]
		size := width
		for _, d := range e.Shape {
			size *= d
		}
		if width == 0 || e.Offsets[1]-e.Offsets[0] != size || e.Offsets[1] > int64(len(data)) || e.Offsets[0]%width != 0 {
			t.Fatalf("%s: %s: %+v in %d bytes of data", file, name, e, len(data))
		}
		for i := e.Offsets[0]; i < e.Offsets[1]; i++ {
			if covered[i] {
				t.Fatalf("%s: %s: byte %d belongs to two tensors", file, name, i)
			}
			covered[i] = true
		}
		names = append(names, name)
		tensors[name] = plainTensor{e.Dtype, e.Shape, data[e.Offsets[0]:e.Offsets[1]]}
	}
	for i, c := range covered {
		if !c {
			t.Fatalf("%s: data byte %d belongs to no tensor", file, i)
		}
	}
	return names, tensors, metadata
}

func goldenBase(t testing.TB, base string) *loader.Checkpoint {
	t.Helper()
	return modelAt(t, filepath.Join("..", "testdata", "golden", "bases", base))
}

func modelAt(t testing.TB, dir string) *loader.Checkpoint {
	t.Helper()
	c, err := loader.Source{}.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// layersOf gives every quantized weight a step and the output form that form
// returns; "" leaves a weight alone.
func layersOf(c *loader.Checkpoint, form func(*loader.Weight) Output) []Layer {
	var layers []Layer
	for i, w := range c.Weights {
		l := Layer{Index: i, Weight: w, Output: Same}
		if f := form(w); f != "" {
			l.Output, l.Steps = f, []Step{{}}
		}
		layers = append(layers, l)
	}
	return layers
}

func quantizedAs(f Output) func(*loader.Weight) Output {
	return func(w *loader.Weight) Output {
		if w.State == nil && w.SCB == nil {
			return ""
		}
		return f
	}
}

// fakeBytes is what the fake engine writes for a tensor: bytes that follow from
// name and size alone.
func fakeBytes(name string, size int64) []byte {
	h := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	r := rand.New(rand.NewPCG(h, uint64(size)))
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// fakeLayer returns the tensors the fake engine writes for a layer.
func fakeLayer(l Layer) map[string][]byte {
	w := l.Weight
	out := map[string][]byte{}
	if d, ok := floatTypes[l.Output]; ok {
		out[w.Param] = fakeBytes(w.Param, w.Numel()*d.Bits()/8)
		return out
	}
	out[w.Param] = fakeBytes(w.Param, w.Data.Size)
	if w.SCB != nil {
		out[w.SCB.Name] = fakeBytes(w.SCB.Name, w.SCB.Size)
	}
	if q := w.State; q != nil {
		out[q.Absmax.Name] = fakeBytes(q.Absmax.Name, q.Absmax.Size)
		if q.Nested {
			out[q.NestedAbsmax.Name] = fakeBytes(q.NestedAbsmax.Name, q.NestedAbsmax.Size)
		}
		// Some offsets print short, some long.
		out[q.JSON.Name] = q.Encode(quant.F32, float32(len(w.Name)%3)*0.1+float32(l.Index%2))
	}
	return out
}

// fakeMerge writes every layer through s as the engine does: several layers at
// once, panels in any order.
func fakeMerge(ctx context.Context, s sink, layers []Layer) error {
	work := make(chan Layer)
	errs := make(chan error, 3)
	var wg sync.WaitGroup
	for range cap(errs) {
		wg.Go(func() {
			for l := range work {
				if err := fakeMergeLayer(ctx, s.layer(l.Weight.Name), l); err != nil {
					errs <- err
					break
				}
			}
			for range work {
			}
		})
	}
	for _, l := range layers {
		if !l.Copies() {
			work <- l
		}
	}
	close(work)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.copyRest(ctx); err != nil {
		return err
	}
	if err := s.writeBeside(ctx); err != nil {
		return err
	}
	return s.finish(ctx, []byte("{}\n"))
}

func fakeMergeLayer(ctx context.Context, s layerSink, l Layer) error {
	if s.done() {
		return nil
	}
	for name, p := range fakeLayer(l) {
		if l.Weight.State != nil && name == l.Weight.State.JSON.Name {
			if err := s.WriteAt(name, p, 0); err != nil {
				return err
			}
			continue
		}
		panel := max(1, len(p)/5)
		starts := []int{}
		for i := 0; i < len(p); i += panel {
			starts = append(starts, i)
		}
		for _, i := range rand.Perm(len(starts)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			at := starts[i]
			if err := s.WriteAt(name, p[at:min(at+panel, len(p))], int64(at)); err != nil {
				return err
			}
		}
	}
	return s.commit(ctx, json.RawMessage(fmt.Sprintf(`{"layer":%q}`, l.Weight.Name)))
}

// writeFake merges with the fake engine into dir.
func writeFake(t testing.TB, dir string, c *loader.Checkpoint, layers []Layer) {
	t.Helper()
	o, err := openOutput(t.Context(), outputSpec{dir: dir, model: c, layers: layers, plan: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := fakeMerge(t.Context(), diskSink{o}, layers); err != nil {
		t.Fatal(err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
}

// TestOutputForms writes each output form over each kind of base and reads the
// result with the tests' own reader.
func TestOutputForms(t *testing.T) {
	bases := []string{"llama-nf4", "llama-nf4-dq", "llama-nf4-shards", "llama-int8", "llama-fp4-dq", "llama-nf4-storage-bf16"}
	for _, base := range bases {
		for _, form := range []Output{Same, AsBF16, AsF32, Keep} {
			t.Run(base+"/"+string(form), func(t *testing.T) {
				c := goldenBase(t, base)
				layers := layersOf(c, quantizedAs(form))
				if form == Keep {
					layers = layersOf(c, func(*loader.Weight) Output { return "" })
				}
				dir := filepath.Join(t.TempDir(), "out")
				writeFake(t, dir, c, layers)
				checkFake(t, dir, c, layers)
			})
		}
	}
}

// checkFake compares an output directory with what the fake engine must have
// made of the model.
func checkFake(t *testing.T, dir string, c *loader.Checkpoint, layers []Layer) {
	t.Helper()
	want := map[string][]byte{}
	dtype := map[string]string{}
	for _, f := range c.Files {
		for _, x := range f.Tensors {
			b, err := x.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			want[x.Name], dtype[x.Name] = b, string(x.DType)
		}
	}
	for _, l := range layers {
		if l.Copies() {
			continue
		}
		if d, ok := floatTypes[l.Output]; ok {
			for _, x := range l.Weight.Companions {
				delete(want, x.Name)
			}
			dtype[l.Weight.Param] = string(d)
		}
		for name, p := range fakeLayer(l) {
			want[name] = p
		}
	}
	for _, f := range c.Files {
		names, tensors, metadata := readPlain(t, filepath.Join(dir, f.Rel))
		if metadata["format"] != "pt" {
			t.Errorf("%s: metadata %v", f.Rel, metadata)
		}
		var order []string
		for _, x := range f.HeaderOrder() {
			if _, ok := want[x.Name]; ok {
				order = append(order, x.Name)
			}
		}
		if fmt.Sprint(names) != fmt.Sprint(order) {
			t.Errorf("%s: tensors\n%v\nwant\n%v", f.Rel, names, order)
		}
		for _, n := range names {
			if !bytes.Equal(tensors[n].data, want[n]) || tensors[n].dtype != dtype[n] {
				t.Errorf("%s: %s differs", f.Rel, n)
			}
		}
	}
	var got []string
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		got = append(got, e.Name())
	}
	expect := append([]string{configName, reportName}, c.Other...)
	for _, f := range c.Files {
		expect = append(expect, f.Rel)
	}
	if c.Index != "" {
		expect = append(expect, c.Index)
	}
	if !sameSet(got, expect) {
		t.Errorf("directory holds %v, want %v", got, expect)
	}
}

func sameSet(a, b []string) bool {
	m := map[string]int{}
	for _, s := range a {
		m[s]++
	}
	for _, s := range b {
		m[s]--
	}
	for _, n := range m {
		if n != 0 {
			return false
		}
	}
	return true
}
