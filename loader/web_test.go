package loader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHubToken follows huggingface_hub/constants.py.
func TestHubToken(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"token": "from-home\n", "other": " from-path ", "cache/huggingface/token": "from-xdg", "u/.cache/huggingface/token": "from-user"} {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range [][2]string{
		{"HF_TOKEN=a HUGGING_FACE_HUB_TOKEN=b", "a"},
		{"HUGGING_FACE_HUB_TOKEN=b HF_HOME=@", "b"},
		{"HF_HOME=@", "from-home"},
		{"HF_HOME=@ HF_TOKEN_PATH=@/other", "from-path"},
		{"XDG_CACHE_HOME=@/cache", "from-xdg"},
		{"HOME=@/u", "from-user"},
		{"HOME=@/u HF_TOKEN_PATH=~/.cache/huggingface/token", "from-user"},
		{"HF_HOME=@ HF_HUB_DISABLE_IMPLICIT_TOKEN=1", ""},
		{"HF_HOME=@ HF_HUB_DISABLE_IMPLICIT_TOKEN=1 HF_TOKEN=a", "a"},
		{"HF_HOME=@/none", ""},
		{"", ""},
	} {
		env := map[string]string{}
		for _, e := range strings.Fields(strings.ReplaceAll(tt[0], "@", dir)) {
			k, v, _ := strings.Cut(e, "=")
			env[k] = v
		}
		if got := HubToken(func(k string) string { return env[k] }); got != tt[1] {
			t.Errorf("%s: %q, want %q", tt[0], got, tt[1])
		}
	}
}
