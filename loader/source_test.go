package loader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	tinyModel   = string(build(int8s("i")...))
	tinyAdapter = string(build(mat("base_model.model.i.lora_A.weight", 8, 5), mat("base_model.model.i.lora_B.weight", 3, 8)))
	tinyConfig  = `{"peft_type":"LORA"}`
)

func TestHubCache(t *testing.T) {
	for _, tt := range []struct {
		env  string // NAME=VALUE separated by spaces
		want string
	}{
		{"", ""},
		{"HOME=/h", "/h/.cache/huggingface/hub"},
		{"HOME=/h XDG_CACHE_HOME=/x", "/x/huggingface/hub"},
		{"HOME=/h XDG_CACHE_HOME=/x HF_HOME=/hf", "/hf/hub"},
		{"HOME=/h HF_HOME=~/hf", "/h/hf/hub"},
		{"HOME=/h HF_HOME=/hf HF_HUB_CACHE=/c", "/c"},
		{"HF_HOME=/hf HUGGINGFACE_HUB_CACHE=/old", "/old"},
		{"HOME=/h HF_HUB_CACHE=~", "/h"},
		{"HOME=/h HF_HUB_CACHE=~user/c", "~user/c"},
	} {
		env := map[string]string{}
		for _, f := range strings.Fields(tt.env) {
			k, v, _ := strings.Cut(f, "=")
			env[k] = v
		}
		if got := HubCache(func(k string) string { return env[k] }); filepath.ToSlash(got) != tt.want {
			t.Errorf("%s: %s, want %s", tt.env, got, tt.want)
		}
	}
}

// hub lays out a cache as huggingface_hub does: snapshots of links to blobs.
func hub(t *testing.T) string {
	t.Helper()
	dir := write(t,
		"models--org--name/refs/main", "aaaa1111", "models--org--name/refs/pr/1", "bbbb2222\n", "models--org--name/refs/evil", "../../..",
		"models--org--name/refs/gone", "cccc3333",
		"models--org--name/blobs/m", tinyModel, "models--org--name/blobs/c", `{"model_type":"llama"}`, "models--org--name/blobs/t", "{}",
		"models--org--name/snapshots/bbbb2222/model.safetensors", tinyModel,
		"models--gpt2/refs/main", "dddd4444", "models--gpt2/snapshots/dddd4444/model.safetensors", tinyModel,
		"models--org--lora/refs/main", "eeee5555", "models--org--lora/snapshots/eeee5555/adapter_model.safetensors", tinyAdapter,
		"models--org--lora/snapshots/eeee5555/adapter_config.json", tinyConfig,
		"models--org--empty/blobs/x", "",
	)
	snap := filepath.Join(dir, "models--org--name/snapshots/aaaa1111")
	if err := os.Mkdir(snap, 0o777); err != nil {
		t.Fatal(err)
	}
	for link, blob := range map[string]string{"model.safetensors": "m", "config.json": "c", "tokenizer.json": "t", "broken.json": "none"} {
		if err := os.Symlink("../../blobs/"+blob, filepath.Join(snap, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHub(t *testing.T) {
	s := Source{Cache: hub(t)}
	for name, snapshot := range map[string]string{
		"org/name": "aaaa1111", "org/name@main": "aaaa1111", "org/name@pr/1": "bbbb2222", "org/name@bbbb2222": "bbbb2222", "gpt2": "dddd4444",
	} {
		c, err := s.Checkpoint(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if filepath.Base(c.Path) != snapshot || len(c.Weights) != 1 || c.Name != strings.TrimPrefix(strings.Split(name, "@")[0], "org/") {
			t.Errorf("%s: %+v", name, c)
		}
		if name == "org/name" && (c.Config.ModelType != "llama" || !slices.Equal(c.Other, []string{"tokenizer.json"})) {
			t.Errorf("%+v", c)
		}
		c.Close()
	}
	a, err := s.Adapter("org/lora")
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	for name, words := range map[string]string{
		"org/nane":           "did you mean org/name?",
		"other/thing":        "nor is other/thing in the cache",
		"org/name@v9":        "no revision v9; snapshots there: aaaa1111, bbbb2222",
		"org/name@evil":      "refs/evil does not hold a commit",
		"org/name@gone":      "cccc3333: no such file or directory: the download of org/name@gone is not complete",
		"org/name@../../x":   `revision "../../x" is not a name`,
		"org/name@":          "no such file or directory",
		"org/..":             "no such file or directory",
		"../org/name@x":      "no such file",
		"org/empty":          "no revision main",
		"a/b/c":              "no such file or directory",
		"org/lora":           "this is a PEFT adapter, not a model",
		"org/name@ffff9999f": "no revision ffff9999f",
	} {
		_, err := s.Checkpoint(name)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", name, err, words)
		}
	}
	_, err = Source{}.Checkpoint("org/name")
	wantError(t, err, "org/name: no such file or directory")
}

func TestDemo(t *testing.T) {
	s := Source{Demo: os.DirFS(demo)}
	if got := s.DemoAdapters(); !slices.Equal(got, []string{"broken", "gocode", "gocode-light", "gocode-mid"}) {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"demo", "demo:nf4", "demo:base-nf4", "demo:int8", "demo:base-int8"} {
		c, err := s.Checkpoint(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.Path != "" || !strings.HasPrefix(c.Name, "demo:") || len(c.Weights) != 30 || !strings.HasPrefix(c.Files[0].Name, "demo/base-") {
			t.Errorf("%s: %s %s %d weights", name, c.Name, c.Files[0].Name, len(c.Weights))
		}
		c.Close()
	}
	for _, name := range []string{"demo:gocode-light", "demo:adapter-gocode-light"} {
		a, err := s.Adapter(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if a.Name != "gocode-light" || a.Path != "demo:gocode-light" || len(a.Modules) != 28 || a.Modules[0].Scale != 2 {
			t.Errorf("%s: %s %s %d modules", name, a.Name, a.Path, len(a.Modules))
		}
		a.Close()
	}
	_, err := s.Checkpoint("demo:base-bf16")
	wantError(t, err, "it has demo:int8, demo:nf4")
	for _, name := range []string{"demo", "demo:", "demo:../base-nf4", "demo:gocode-ligh", "demo:base-nf4"} {
		_, err = s.Adapter(name)
		wantError(t, err, "it has demo:broken, demo:gocode")
	}
	if (Source{}).DemoAdapters() != nil || (Source{Demo: fstest.MapFS{}}).DemoAdapters() != nil {
		t.Error("adapters without a demo")
	}
}

// TestChoice checks which files of a directory are the model.
func TestChoice(t *testing.T) {
	x, y := string(build(mat("x.weight", 1, 1))), string(build(mat("y.weight", 1, 1)))
	index := func(pairs ...string) string {
		var m []string
		for i := 0; i < len(pairs); i += 2 {
			m = append(m, `"`+pairs[i]+`":"`+pairs[i+1]+`"`)
		}
		return `{"metadata":{"total_size":8},"weight_map":{` + strings.Join(m, ",") + `}}`
	}
	const idx = "model.safetensors.index.json"
	for _, tt := range []struct {
		name  string
		open  string // below the directory
		files []string
		want  string // files opened, or "error: words"
	}{
		{"single", "", []string{"model.safetensors", x, "z.safetensors", y}, "model.safetensors"},
		{"single before index", "", []string{"model.safetensors", x, idx, "{"}, "model.safetensors"},
		{"index", "", []string{"b.safetensors", x, "a.safetensors", y, idx, index("x.weight", "b.safetensors", "y.weight", "a.safetensors")}, "a.safetensors b.safetensors"},
		{"index leaves files out", "", []string{"b.safetensors", x, "consolidated.safetensors", x, idx, index("x.weight", "b.safetensors")}, "b.safetensors"},
		{"index with subdirectory", "", []string{"s/b.safetensors", x, idx, index("x.weight", "s/b.safetensors")}, "s/b.safetensors"},
		{"index of another name", "", []string{"b.safetensors", x, "c.safetensors", x, "w.safetensors.index.json", index("x.weight", "b.safetensors")}, "b.safetensors"},
		{"index named", idx, []string{"b.safetensors", x, idx, index("x.weight", "b.safetensors")}, "b.safetensors"},
		{"config named", "config.json", []string{"model.safetensors", x, "config.json", "{}"}, "model.safetensors"},
		{"several", "", []string{"m-10.safetensors", x, "m-2.safetensors", y, "adapter_model.safetensors", x}, "m-2.safetensors m-10.safetensors"},
		{"one shard", "b.safetensors", []string{"b.safetensors", x, "a.safetensors", x, idx, "{"}, "b.safetensors"},
		{"unlisted tensor", "", []string{"b.safetensors", string(build(mat("x.weight", 1, 1), mat("z.weight", 1, 1))), idx, index("x.weight", "b.safetensors")}, "b.safetensors"},

		{"twice", "", []string{"a.safetensors", x, "b.safetensors", x}, "error: b.safetensors: tensor x.weight: byte 71: is in "},
		{"twice in shards", "", []string{"a.safetensors", x, "b.safetensors", string(build(mat("x.weight", 1, 1), mat("y.weight", 1, 1))), idx, index("x.weight", "a.safetensors", "y.weight", "b.safetensors")}, "error: b.safetensors: tensor x.weight: byte "},
		{"missing shard", "", []string{"b.safetensors", x, idx, index("x.weight", "b.safetensors", "y.weight", "a.safetensors")}, "error: a.safetensors: no such file"},
		{"tensor not in shard", "", []string{"a.safetensors", x, idx, index("x.weight", "a.safetensors", "y.weight", "a.safetensors")}, "error: " + idx + ": tensor y.weight: is not in a.safetensors"},
		{"tensor in other shard", "", []string{"a.safetensors", x, "b.safetensors", y, idx, index("x.weight", "b.safetensors", "y.weight", "a.safetensors")}, "error: tensor x.weight: is in a.safetensors, not in b.safetensors"},
		{"outside", "", []string{idx, index("x.weight", "../b.safetensors")}, "error: byte 54: tensor x.weight: file \"../b.safetensors\" is outside the checkpoint's directory"},
		{"absolute", "", []string{idx, index("x.weight", "/b.safetensors")}, "error: is outside"},
		{"backslash", "", []string{idx, index("x.weight", `..\\b.safetensors`)}, "error: is outside"},
		{"drive", "", []string{idx, index("x.weight", `C:b.safetensors`)}, "error: is outside"},
		{"dot", "", []string{idx, index("x.weight", `./b.safetensors`)}, "error: is outside"},
		{"pickle shard", "", []string{idx, index("x.weight", `b.bin`)}, "error: file \"b.bin\" is no .safetensors file"},
		{"index key twice", "", []string{idx, index("x.weight", "b.safetensors", "x.weight", "b.safetensors")}, "error: " + idx + ": byte 70: duplicate key \"x.weight\""},
		{"index without map", "", []string{idx, "{}"}, "error: " + idx + ": field \"weight_map\" is missing"},
		{"map a list", "", []string{idx, `{"weight_map":[]}`}, "error: byte 14: want an object"},
		{"map of numbers", "", []string{idx, `{"weight_map":{"x":1}}`}, "error: byte 19: tensor x: want a string, got a number"},
		{"index cut", "", []string{idx, `{"weight_map":{"x":`}, "error: byte 19: "},
		{"index goes on", "", []string{idx, `{"weight_map":{}}{}`}, "error: byte 17: text goes on"},

		{"empty", "", nil, "error: no .safetensors file; it is empty"},
		{"no model", "", []string{"a", "", "b10", "", "b9", ""}, "error: no .safetensors file; it holds a, b9, b10"},
		{"many files", "", []string{"1", "", "2", "", "3", "", "4", "", "5", "", "6", "", "7", "", "8", "", "9", ""}, "error: it holds 1, 2, 3, 4, 5, 6, 7, 8 and 1 more"},
		{"pickles", "", []string{"pytorch_model-1-of-2.bin", ""}, "error: save_pretrained("},
		{"pickle named", "m.bin", []string{"m.bin", ""}, "error: m.bin is a PyTorch pickle, which can run code"},
		{"text named", "m.txt", []string{"m.txt", ""}, "error: m.txt: not a .safetensors file"},
		{"adapter", "", []string{"adapter_model.safetensors", tinyAdapter}, "error: this is a PEFT adapter, not a model"},
		{"no such file", "modle.safetensors", []string{"model.safetensors", x}, "error: did you mean "},
		{"no such directory", "a/b", []string{"model.safetensors", x}, "error: cannot be listed"},
		{"nothing like it", "zzzzzz", []string{"model.safetensors", x}, "error: 001 holds model.safetensors"},
		{"bad file", "", []string{"model.safetensors", "version https://git-lfs.github.com/spec/v1\n"}, "error: git lfs pull"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := write(t, tt.files...)
			if tt.files == nil {
				dir = t.TempDir()
			}
			c, err := Source{}.Checkpoint(filepath.Join(dir, tt.open))
			if words, ok := strings.CutPrefix(tt.want, "error: "); ok {
				wantError(t, err, dir, words)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var got []string
			for _, f := range c.Files {
				got = append(got, f.Rel)
				if want := filepath.Join(dir, filepath.FromSlash(f.Rel)); f.Name != want {
					t.Errorf("name %s, want %s", f.Name, want)
				}
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("opened %s, want %s", s, tt.want)
			}
		})
	}
}

func TestOther(t *testing.T) {
	dir := write(t, "model.safetensors", tinyModel, "config.json", "{}", "tokenizer.json", "", "chat_template.jinja", "", "pytorch_model.bin", "",
		"model.safetensors.index.json", "{", "x.gguf", "", ".gitattributes", "", "mergescope-report.json", "", "original/params.json", "",
		"additional_chat_templates/tool.jinja", "", "vocab.txt", "")
	c, err := Source{}.Checkpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if want := []string{"additional_chat_templates/tool.jinja", "chat_template.jinja", "tokenizer.json", "vocab.txt"}; !slices.Equal(c.Other, want) {
		t.Errorf("%v, want %v", c.Other, want)
	}
	for _, name := range c.Other {
		if _, err := fs.Stat(c.FS(), name); err != nil {
			t.Error(err)
		}
	}
	lone := write(t, "w.safetensors", tinyModel, "diary.txt", "")
	c, err = Source{}.Checkpoint(filepath.Join(lone, "w.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Other != nil || c.Name != "w" {
		t.Errorf("%+v", c)
	}
}

func TestAdapterPlaces(t *testing.T) {
	dir := write(t, "my-lora/adapter_model.safetensors", tinyAdapter, "my-lora/adapter_config.json", tinyConfig,
		"noconf/adapter_model.safetensors", tinyAdapter, "pickle/adapter_model.bin", "", "pickle/adapter_config.json", tinyConfig,
		"outer/checkpoint-5/adapter_model.safetensors", tinyAdapter, "model/model.safetensors", tinyModel, "bare/readme", "",
		"badconf/adapter_model.safetensors", tinyAdapter, "badconf/adapter_config.json", `{"peft_type":"LORA","r":"x"}`,
		"badfile/adapter_model.safetensors", "x", "badfile/adapter_config.json", tinyConfig)
	for _, name := range []string{"my-lora", "my-lora/", "my-lora/adapter_model.safetensors", "my-lora/adapter_config.json"} {
		a, err := Source{}.Adapter(dir + "/" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		if a.Name != "my-lora" || a.Path != dir+"/"+name || len(a.Modules) != 1 || a.File.Rel != "adapter_model.safetensors" {
			t.Errorf("%+v", a)
		}
		if _, err := fs.Stat(a.FS(), "adapter_config.json"); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
	for name, words := range map[string]string{
		"noconf":                   "adapter_config.json is missing beside adapter_model.safetensors",
		"pickle":                   "save_file(torch.load('adapter_model.bin'",
		"pickle/adapter_model.bin": "which can run code",
		"outer":                    "there is one in " + filepath.Join(dir, "outer", "checkpoint-5"),
		"model":                    "this is a model, not a PEFT adapter",
		"bare":                     "no adapter_model.safetensors; it holds readme",
		"bare/readme":              "not a .safetensors file",
		"badconf":                  `adapter_config.json: byte 24: field "r": want an integer`,
		"badfile":                  "adapter_model.safetensors: byte 0: 1 bytes are too few",
		"my-lorra":                 "did you mean " + filepath.Join(dir, "my-lora") + "?",
	} {
		_, err := Source{}.Adapter(dir + "/" + name)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", name, err, words)
		}
	}
	_, err := Source{}.Adapter("")
	wantError(t, err, "empty name")
}

// TestClosed: whatever goes wrong, no file stays open; afterwards reading is
// an error.
func TestClosed(t *testing.T) {
	x := string(build(mat("x.weight", 1, 1)))
	for _, files := range [][]string{
		{"model.safetensors", x},
		{"a.safetensors", x, "b.safetensors", x},
		{"a.safetensors", x, "b.safetensors", "broken"},
		{"model.safetensors", x, "config.json", "{"},
		{"model.safetensors", string(build(nested4("q.weight", "nf4")[1:]...))},
		{"a.safetensors", x, "model.safetensors.index.json", `{"weight_map":{"z":"a.safetensors"}}`},
	} {
		c := &counter{FS: os.DirFS(write(t, files...))}
		ck, err := openCheckpoint(place{fsys: c, dir: "d", path: "d", name: "n"})
		if err == nil {
			if c.open.Load() == 0 {
				t.Error("nothing is open")
			}
			if err := ck.Close(); err != nil {
				t.Error(err)
			}
		}
		if c.open.Load() != 0 {
			t.Errorf("%q: %d files are open, %v", files, c.open.Load(), err)
		}
	}
	for _, config := range []string{tinyConfig, "{", `{"peft_type":"LORA","alpha_pattern":{"(a":1}}`} {
		c := &counter{FS: os.DirFS(write(t, "adapter_model.safetensors", tinyAdapter, "adapter_config.json", config))}
		a, err := openAdapter(place{fsys: c, dir: "d", path: "d", name: "n"})
		if err == nil {
			err = a.Close()
		}
		if c.open.Load() != 0 {
			t.Errorf("%d files are open, %v", c.open.Load(), err)
		}
	}
	c, err := Source{}.Checkpoint(write(t, "model.safetensors", x))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = c.Tensor("x.weight").Bytes()
	if wantError(t, err, "tensor x.weight"); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// noReaderAt serves files that can only be read front to back.
type noReaderAt struct{ fs.FS }

func (n noReaderAt) Open(name string) (fs.File, error) {
	f, err := n.FS.Open(name)
	if d, ok := f.(fs.ReadDirFile); ok {
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return d, nil
		}
	}
	return struct{ fs.File }{f}, err
}

func TestNoReaderAt(t *testing.T) {
	_, err := openCheckpoint(place{fsys: noReaderAt{fstest.MapFS{"model.safetensors": {Data: []byte(tinyModel)}}}, dir: "d"})
	wantError(t, err, "d/model.safetensors: its source cannot read at an offset")
}
