package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const hubToken = "hf_DoNotPrintMe"

// testHub serves directories as the repositories org/NAME of a hub and below
// /plain/NAME, to those who have the token.
type testHub struct {
	*httptest.Server
	sent atomic.Int64 // bytes of weights
}

func newHub(t *testing.T, repos map[string]string) *testHub {
	t.Helper()
	h := &testHub{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := strings.HasPrefix(r.URL.Path, "/plain/")
		if got := r.Header.Get("Authorization"); !plain && got != "Bearer "+hubToken || plain && got != "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		for name, dir := range repos {
			if r.URL.Path == "/api/models/org/"+name+"/revision/main" {
				list(w, dir)
				return
			}
			for _, prefix := range []string{"/org/" + name + "/resolve/0123abc/", "/plain/" + name + "/"} {
				if rest, ok := strings.CutPrefix(r.URL.Path, prefix); ok {
					h.file(w, r, filepath.Join(dir, filepath.FromSlash(rest)))
					return
				}
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(h.Close)
	t.Setenv("HF_TOKEN", hubToken)
	return h
}

func list(w http.ResponseWriter, dir string) {
	var siblings []map[string]any
	_ = filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			rel, _ := filepath.Rel(dir, name)
			siblings = append(siblings, map[string]any{"rfilename": filepath.ToSlash(rel), "size": info.Size()})
		}
		return err
	})
	_ = json.NewEncoder(w).Encode(map[string]any{"sha": "0123abc", "siblings": siblings})
}

func (h *testHub) file(w http.ResponseWriter, r *http.Request, name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", `"1"`)
	if strings.HasSuffix(name, ".safetensors") {
		w = &counted{w, &h.sent}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// TestHub runs commands on a hub and on the same files on disk.
func TestHub(t *testing.T) {
	c := readGolden(t, "shards")
	h := newHub(t, map[string]string{"base": c.base, "adapter": c.adapter})
	hub := []string{"--hub", h.URL}
	all := ""
	ok := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := command(t, args...)
		all += string(stdout) + string(stderr)
		if code != exitFine {
			t.Fatalf("%v: exit code %d\n%s", args, code, stderr)
		}
		return string(stdout)
	}

	here := ok("inspect", c.base, "-a", c.adapter, "--json")
	there := ok(append(hub, "inspect", "org/base", "-a", "org/adapter", "--json")...)
	there = strings.ReplaceAll(there, h.URL+"/org/base@0123abc", c.base)
	var a, b inspection
	if json.Unmarshal([]byte(here), &a) != nil || json.Unmarshal([]byte(there), &b) != nil || len(a.Weights) == 0 {
		t.Fatalf("no JSON:\n%s", there)
	}
	x, _ := json.Marshal(a.Weights)
	y, _ := json.Marshal(b.Weights)
	if !bytes.Equal(x, y) {
		t.Errorf("inspect lists other weights:\n%s\n%s", x, y)
	}
	ok(append(hub, "doctor", "org/base@main", "-a", "org/adapter")...)
	ok("report", h.URL+"/plain/base", "-a", h.URL+"/plain/adapter", "--json") // no hub is named: the token stays here
	plan := filepath.Join(t.TempDir(), "plan.json")
	ok(append(hub, "plan", "org/base", "-a", "org/adapter", "-o", plan)...)

	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	ok("merge", c.base, "-a", c.adapter, "-o", one)
	ok(append(hub, "merge", "org/base", "--plan", plan, "-o", two)...)
	files, err := os.ReadDir(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		x, _ := os.ReadFile(filepath.Join(one, f.Name()))
		y, err := os.ReadFile(filepath.Join(two, f.Name()))
		all += string(y)
		if err != nil || f.Name() != "mergescope-report.json" && !bytes.Equal(x, y) {
			t.Errorf("%s differs: %v", f.Name(), err)
		}
	}
	text, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	if all += string(text); strings.Contains(all, hubToken) {
		t.Error("the token was printed")
	}
}

// TestHubHeaders: listing a checkpoint fetches headers, not weights.
func TestHubHeaders(t *testing.T) {
	dir := t.TempDir()
	writeFloats8MB(t, dir)
	h := newHub(t, map[string]string{"large": dir})
	if _, stderr, code := command(t, "inspect", "org/large", "--hub", h.URL); code != exitFine {
		t.Fatal(code, stderr)
	}
	// 64 KiB is asked for before anything is known of a file.
	if n := h.sent.Load(); n > 70_000 {
		t.Errorf("inspect fetched %d bytes of 8 MB", n)
	}
}

// writeFloats8MB writes a checkpoint of 8 MB in one float tensor.
func writeFloats8MB(t *testing.T, dir string) {
	t.Helper()
	head := []byte(`{"model.layers.0.mlp.up_proj.weight":{"dtype":"F32","shape":[2000,1000],"data_offsets":[0,8000000]}}`)
	head = append(head, bytes.Repeat([]byte{' '}, (8-len(head)%8)%8)...)
	text := append([]byte{byte(len(head)), 0, 0, 0, 0, 0, 0, 0}, head...)
	for name, b := range map[string][]byte{"model.safetensors": append(text, make([]byte, 8_000_000)...), "config.json": []byte(`{"model_type": "llama"}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHubErrors(t *testing.T) {
	h := newHub(t, map[string]string{})
	for _, tt := range []struct {
		args  []string
		token string
		code  int
		want  string
	}{
		{[]string{"inspect", "org/none", "--hub", h.URL}, hubToken, exitFailed, "no such repository or revision"},
		{[]string{"inspect", "org/none", "--hub", h.URL}, "", exitFailed, "give a token in HF_TOKEN"},
		{[]string{"inspect", "org/none", "--hub", h.URL}, "hf_DoNotPrintMeEither", exitFailed, "the token has no access"},
		{[]string{"inspect", "org/none", "--hub", "https://user:hf_DoNotPrintMe@hub.example"}, "", exitUsage, "must not hold a user name or password"},
		{[]string{"inspect", "https://user:hf_DoNotPrintMe@hub.example/x"}, "", exitFailed, "must not hold a user name or password"},
		{[]string{"inspect", "org/none", "--hub", "env"}, "", exitUsage, "HF_ENDPOINT is not set"},
		{[]string{"inspect", h.URL + "/plain/none"}, "", exitFailed, "none of the files of a model"},
	} {
		t.Setenv("HF_TOKEN", tt.token)
		t.Setenv("HF_HOME", t.TempDir())
		t.Setenv("HF_ENDPOINT", "")
		_, text, code := command(t, tt.args...)
		stderr := string(text)
		if code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s", tt.args, code, tt.code, tt.want, stderr)
		}
		if strings.Contains(stderr, "DoNotPrintMe") {
			t.Errorf("%v: a secret was printed\n%s", tt.args, stderr)
		}
	}
}
