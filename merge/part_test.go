package merge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDeal: every tensor has one writer, and a weight's tensors have the same.
func TestDeal(t *testing.T) {
	for _, base := range []string{"llama-nf4-shards", "llama-nf4-dq", "llama-int8"} {
		c := goldenBase(t, base)
		layers := layersOf(c, mixed())
		for _, n := range []int{1, 2, 3, 4, 7, 100, 10_000} {
			o := &output{spec: outputSpec{dir: t.TempDir(), model: c, layers: layers, plan: "p"}}
			if err := o.arrange(nil); err != nil {
				t.Fatal(err)
			}
			writer, used := map[*slot]int{}, 0
			for i := range n {
				mine := o.deal(Part{i + 1, n})
				if len(mine) > 0 {
					used++
				}
				for s := range mine {
					if writer[s] != 0 {
						t.Fatalf("%s: %s is in two parts of %d", base, s.name, n)
					}
					writer[s] = i + 1
				}
			}
			slots := 0
			for _, f := range o.shards {
				slots += len(f.layout.slots) + len(f.layout.absent)
			}
			if len(writer) != slots {
				t.Errorf("%s: %d of %d tensors are in %d parts", base, len(writer), slots, n)
			}
			for name, list := range o.owned {
				for _, s := range list {
					if writer[s] != writer[list[0]] {
						t.Errorf("%s: weight %s has two writers", base, name)
					}
				}
			}
			if n <= 4 && used != n {
				t.Errorf("%s: only %d of %d parts have anything to do", base, used, n)
			}
		}
	}
}

// TestPartsProcesses merges with several processes at once and compares with
// one. One run lets them end, in the other ones they are killed at random.
func TestPartsProcesses(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("..", "testdata", "golden")
	for _, tt := range [][2]string{
		{filepath.Join(golden, "bases", "llama-nf4-shards"), filepath.Join(golden, "cases", "shards", "adapter")},
		{filepath.Join(demoDir, "base-nf4"), filepath.Join(demoDir, "adapter-gocode")},
	} {
		ref := filepath.Join(t.TempDir(), "ref")
		began := time.Now()
		if b, err := child(t.Context(), program, tt[0], tt[1], ref).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		took := time.Since(began)
		want, input := results(t, ref), hashes(t, tt[0])
		killed := 0
		for goal := kills(t, 4); ; {
			out := filepath.Join(t.TempDir(), "out")
			for killed < goal && !loadable(out) {
				killed += runParts(t, program, tt, out, 4, func() time.Duration { return time.Duration(rand.Int64N(2 * int64(took))) })
				if _, err := os.Stat(out); err == nil {
					checkInterrupted(t, results(t, out), want)
				}
			}
			if !loadable(out) {
				runParts(t, program, tt, out, 4, func() time.Duration { return time.Hour })
			}
			got := results(t, out)
			delete(got, lockName) // of a process that was killed right after
			sameFiles(t, "four processes", got, want)
			if killed >= goal {
				break
			}
		}
		sameFiles(t, "input", hashes(t, tt[0]), input)
		t.Logf("%d kills", killed)
	}
}

// loadable reports whether a directory holds a finished output.
func loadable(dir string) bool {
	_, err1 := os.Stat(filepath.Join(dir, configName))
	_, err2 := os.Stat(filepath.Join(dir, stateName))
	return err1 == nil && err2 != nil
}

// runParts starts a process for each part, kills each after some time, and
// returns how many it killed.
func runParts(t *testing.T, program string, in [2]string, out string, n int, after func() time.Duration) int {
	t.Helper()
	var wg sync.WaitGroup
	dead := make([]bool, n)
	for i := range n {
		ctx, cancel := context.WithTimeout(t.Context(), after())
		wg.Go(func() {
			defer cancel()
			cmd := child(ctx, program, in[0], in[1], out)
			cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d/%d", childPart, i+1, n))
			b, err := cmd.CombinedOutput()
			p := cmd.ProcessState
			dead[i] = p != nil && !p.Exited()
			// A part that ended before a killed one may find the output complete.
			if p != nil && p.Exited() && !p.Success() && !strings.Contains(string(b), "already holds a finished merge") {
				t.Errorf("part %d: %v\n%s", i+1, err, b)
			}
		})
	}
	wg.Wait()
	killed := 0
	for _, d := range dead {
		if d {
			killed++
		}
	}
	return killed
}

// TestPartsOneByOne: parts need not run at once, only the last completes the
// output, and a layer that is stopped on the way changes nothing in that.
func TestPartsOneByOne(t *testing.T) {
	p := openDemo(t, "base-nf4", "broken")
	plan := p.NewPlan()
	plan.Rules = append(plan.Rules, Rule{Match: "layers.1.*", Output: AsBF16}, Rule{Match: "layers.2.*", Output: AsBF16})
	ref := filepath.Join(t.TempDir(), "ref")
	if err := runJob(t, p, plan, Options{Out: ref}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for _, i := range []int{3, 1, 2} {
		if loadable(out) {
			t.Fatal("complete before the last part")
		}
		if err := runPart(t, p, plan, out, Part{i, 3}); err != nil {
			t.Fatal(err)
		}
	}
	sameFiles(t, "three parts", results(t, out), results(t, ref))
}

// TestPartsTakenOver: an ordinary run goes on alone with what parts have
// written, but not while one of them runs.
func TestPartsTakenOver(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	plan := p.NewPlan()
	ref, out := filepath.Join(t.TempDir(), "ref"), filepath.Join(t.TempDir(), "out")
	if err := runJob(t, p, plan, Options{Out: ref}); err != nil {
		t.Fatal(err)
	}
	if err := runJob(t, p, plan, Options{Out: out, Part: Part{2, 3}}); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	lock, err := takeLock(root, Part{2, 3}.lockName())
	if err != nil {
		t.Fatal(err)
	}
	for what, opt := range map[string]Options{
		"all":           {Out: out},
		"the same part": {Out: out, Part: Part{2, 3}},
		"another count": {Out: out, Part: Part{1, 4}},
	} {
		if err := runJob(t, p, plan, opt); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", what, err)
		}
	}
	other := plan
	other.Rules = append([]Rule{}, plan.Rules...)
	other.Rules = append(other.Rules, Rule{Match: "*", Output: Keep})
	if err := runJob(t, p, other, Options{Out: out, Part: Part{1, 3}}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "another plan") {
		t.Errorf("another plan: %v", err)
	}
	lock.release()
	if err := runJob(t, p, plan, Options{Out: out, Resume: true}); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, "taken over", results(t, out), results(t, ref))
}

// TestResumeOnly: with Resume nothing begins anew.
func TestResumeOnly(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	empty := t.TempDir()
	for _, opt := range []Options{
		{Out: filepath.Join(t.TempDir(), "new"), Resume: true},
		{Out: empty, Resume: true},
		{Out: empty, Resume: true, Part: Part{1, 2}},
	} {
		if err := runJob(t, p, p.NewPlan(), opt); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "no unfinished run to resume") {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	checkNames(t, empty)
}

// TestPartsForeign: parts refuse a directory with files of somebody else.
func TestPartsForeign(t *testing.T) {
	p := openDemo(t, "base-nf4", "gocode")
	out := t.TempDir()
	writeFile(t, filepath.Join(out, "notes.txt"), nil)
	if err := runJob(t, p, p.NewPlan(), Options{Out: out, Part: Part{1, 2}}); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v", err)
	}
	checkNames(t, out, "notes.txt")
}
