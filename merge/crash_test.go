package merge

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mergescope/loader"
	"mergescope/quant"
)

// Variables by which a test tells its child process what to merge. Without an
// adapter the fake engine writes.
const (
	childModel   = "MERGESCOPE_TEST_MODEL"
	childAdapter = "MERGESCOPE_TEST_ADAPTER"
	childOut     = "MERGESCOPE_TEST_OUT"
	childPart    = "MERGESCOPE_TEST_PART" // 2/4; "" for all
)

// TestMergeChild is not a test: it is the process that the tests below start
// and kill.
func TestMergeChild(t *testing.T) {
	if os.Getenv(childModel) == "" {
		return // started as an ordinary test: nothing to merge
	}
	c := modelAt(t, os.Getenv(childModel))
	if os.Getenv(childAdapter) != "" {
		mergeChild(t, c)
		return
	}
	layers := layersOf(c, mixed())
	o := &output{spec: outputSpec{dir: os.Getenv(childOut), model: c, layers: layers, plan: "p"}, create: createFile}
	if err := o.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fakeMerge(t.Context(), diskSink{o}, layers); err != nil {
		t.Fatal(err)
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
}

// mergeChild merges with the real engine.
func mergeChild(t *testing.T, c *loader.Checkpoint) {
	a, err := loader.Source{}.Adapter(os.Getenv(childAdapter))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	p := NewProject(c, a)
	if os.Getenv(childPart) == "" {
		if err := runJob(t, p, p.NewPlan(), Options{Out: os.Getenv(childOut)}); err != nil {
			t.Fatal(err)
		}
		return
	}
	var part Part
	if _, err := fmt.Sscanf(os.Getenv(childPart), "%d/%d", &part.Index, &part.Count); err != nil {
		t.Fatal(err)
	}
	if err := runPart(t, p, p.NewPlan(), os.Getenv(childOut), part); err != nil {
		t.Fatal(err)
	}
}

func runJob(t *testing.T, p *Project, plan Plan, opt Options) error {
	t.Helper()
	j, err := NewJob(p, plan, opt)
	if err == nil {
		_, err = j.Run(t.Context())
	}
	return err
}

// runPart writes a part and completes the output if it is the last.
func runPart(t *testing.T, p *Project, plan Plan, out string, part Part) error {
	t.Helper()
	err := runJob(t, p, plan, Options{Out: out, Part: part})
	if err != nil && !errors.Is(err, ErrPartWritten) {
		return err
	}
	err = runJob(t, p, plan, Options{Out: out, Join: part.Count})
	if errors.Is(err, ErrParts) {
		return nil
	}
	return err
}

// child returns the command that runs TestMergeChild; adapter may be "".
func child(ctx context.Context, program, model, adapter, out string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestMergeChild$")
	cmd.Env = append(os.Environ(), childModel+"="+model, childAdapter+"="+adapter, childOut+"="+out)
	return cmd
}

// TestKill kills a merging process again and again at random moments. Whatever
// it leaves must not load unless it is complete, and the last run must give the
// bytes of an uninterrupted one.
func TestKill(t *testing.T) {
	model := filepath.Join(t.TempDir(), "model")
	writeModel(t, model, 3, 8, 128<<10)
	kill(t, model, "", kills(t, 10))
}

// TestKillJob does the same to the real engine.
func TestKillJob(t *testing.T) {
	golden := filepath.Join("..", "testdata", "golden")
	kill(t, filepath.Join(golden, "bases", "llama-nf4-shards"), filepath.Join(golden, "cases", "shards", "adapter"), kills(t, 3))
	kill(t, filepath.Join(demoDir, "base-nf4"), filepath.Join(demoDir, "adapter-gocode"), kills(t, 3))
}

// kills returns how often a test kills: few times in an ordinary run, as often
// as MERGESCOPE_KILLS says in a thorough one.
func kills(t *testing.T, few int) int {
	t.Helper()
	v := os.Getenv("MERGESCOPE_KILLS")
	if v == "" {
		return few
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kill merges again and again until so many of the processes were killed.
func kill(t *testing.T, model, adapter string, times int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	input := hashes(t, model)
	ref := filepath.Join(t.TempDir(), "ref")
	began := time.Now()
	if b, err := child(t.Context(), program, model, adapter, ref).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	took := time.Since(began)
	want := results(t, ref)

	dir := filepath.Join(t.TempDir(), "out")
	finished, left := 0, 0
	for killed := 0; killed < times; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(took))))
		cmd := child(ctx, program, model, adapter, dir)
		b, err := cmd.CombinedOutput() // killed when ctx ends
		cancel()
		switch p := cmd.ProcessState; {
		case p == nil: // the time was over before it began
			continue
		case !p.Exited():
			killed++
		case !p.Success():
			t.Fatalf("%v\n%s", err, b)
		}
		sameFiles(t, "input", hashes(t, model), input)
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		left++
		got := results(t, dir)
		checkInterrupted(t, got, want)
		if got[configName] != "" && got[stateName] == "" { // nothing was left to do
			delete(got, lockName)
			sameFiles(t, "finished", got, want)
			dir = filepath.Join(t.TempDir(), "out")
			finished++
		}
	}
	if b, err := child(t.Context(), program, model, adapter, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	sameFiles(t, "resumed", results(t, dir), want)
	sameFiles(t, "input", hashes(t, model), input)
	t.Logf("%d kills, %d runs left something, %d outputs became whole", times, left, finished+1)
}

// results returns the digests of an output directory, the seconds in the report
// left out.
func results(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := hashes(t, dir)
	if out[reportName] == "" {
		return out
	}
	b, err := os.ReadFile(filepath.Join(dir, reportName))
	if err != nil {
		t.Fatal(err)
	}
	out[reportName] = digest(regexp.MustCompile(`"seconds": [^,}\n]*`).ReplaceAll(b, nil))
	return out
}

// writeModel writes a sharded checkpoint of double-quantized NF4 layers, n a
// shard, with size bytes of codes each.
func writeModel(t *testing.T, dir string, shards, n int, size int64) {
	t.Helper()
	weights := map[string]string{}
	for s := range shards {
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", s+1, shards)
		var head []string
		var data []byte
		add := func(name, dtype string, shape string, b []byte) {
			head = append(head, fmt.Sprintf(`%q:{"dtype":%q,"shape":[%s],"data_offsets":[%d,%d]}`, name, dtype, shape, len(data), len(data)+len(b)))
			data = append(data, b...)
			weights[name] = file
		}
		blocks := size * 2 / 64
		for i := range n {
			w := fmt.Sprintf("model.layers.%d.mlp.up_proj.weight", s*n+i)
			add(w+".nested_absmax", "F32", fmt.Sprint((blocks+255)/256), fakeBytes(w+"a", (blocks+255)/256*4))
			add(w+".nested_quant_map", "F32", "256", make([]byte, 1024))
			add(w+".quant_map", "F32", "16", make([]byte, 64))
			add(w[:len(w)-len("up_proj.weight")]+"norm.weight", "F32", "64", fakeBytes(w+"n", 256))
		}
		for i := range n {
			w := fmt.Sprintf("model.layers.%d.mlp.up_proj.weight", s*n+i)
			add(w, "U8", fmt.Sprintf("%d,1", size), fakeBytes(w, size))
			add(w+".absmax", "U8", fmt.Sprint(blocks), fakeBytes(w+"b", blocks))
			q := loader.QuantState{
				Type: quant.NF4, Blocksize: 64, Shape: []int64{size * 2 / 512, 512},
				Nested: true, NestedBlocksize: 256, NestedDtype: "float32",
			}
			text := q.Encode(quant.BF16, 0.25)
			add(w+".quant_state.bitsandbytes__nf4", "U8", fmt.Sprint(len(text)), text)
		}
		text := `{"__metadata__":{"format":"pt"},` + strings.Join(head, ",") + "}"
		text += strings.Repeat(" ", (8-len(text)%8)%8)
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		writeFile(t, filepath.Join(dir, file), append(append(b, text...), data...))
	}
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": weights})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "model.safetensors.index.json"), index)
	writeFile(t, filepath.Join(dir, "config.json"), []byte(`{"quantization_config": {"quant_method": "bitsandbytes"}}`))
	writeFile(t, filepath.Join(dir, "tokenizer.json"), fakeBytes("tokenizer", 100_000))
}

func writeFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func keys(m map[string]string) []string {
	var k []string
	for n := range m {
		k = append(k, n)
	}
	slices.Sort(k)
	return k
}
