package main

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"mergescope/tui"
	"mergescope/tui/screentest"
)

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestDocsKeys(t *testing.T) {
	const file = "docs/keys.md"
	want := tui.KeysMarkdown()
	if os.Getenv(screentest.UpdateEnv) != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if readText(t, file) != want {
		t.Errorf("%s is not what the registry of actions says; make docs writes it", file)
	}
}

// screenBlock is a screen in docs/tui.md: its name, and the text that make docs
// writes below it.
var screenBlock = regexp.MustCompile("(?s)<!-- screen (\\S+) -->\n.*?<!-- end -->")

// docs/tui.md shows the screens that tests compare, names every one of them and
// mentions no key that does not exist.
func TestDocsScreens(t *testing.T) {
	const file, dir = "docs/tui.md", "tui/testdata/screens"
	text := readText(t, file)
	want := screenBlock.ReplaceAllStringFunc(text, func(block string) string {
		name := screenBlock.FindStringSubmatch(block)[1]
		return "<!-- screen " + name + " -->\n\n```text\n" + readText(t, filepath.Join(dir, name+".txt")) + "```\n\n<!-- end -->"
	})
	if os.Getenv(screentest.UpdateEnv) != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		text = want
	}
	if text != want {
		t.Errorf("%s shows screens that are no more; make docs writes them", file)
	}
	prose := screenBlock.ReplaceAllString(text, "")
	screens, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(screens) < 50 {
		t.Fatalf("%d screens: %v", len(screens), err)
	}
	size := regexp.MustCompile(`-\d+x\d+(-.*)?\.txt$`)
	for _, s := range screens {
		if name := size.ReplaceAllString(filepath.Base(s), ""); !strings.Contains(prose, "`"+name+"`") {
			t.Errorf("%s does not name the screen %s", file, name)
		}
	}
	keys := tui.KeysMarkdown()
	for _, m := range regexp.MustCompile("`([^\\s`]|ctrl\\+.|tab|enter|esc|space)`").FindAllStringSubmatch(prose, -1) {
		if !strings.Contains("✓!✕◐·i", m[1]) && !strings.Contains(keys, "`"+m[1]+"`") {
			t.Errorf("%s mentions the key %s, which does nothing", file, m[1])
		}
	}
}

// documents are the texts people read.
func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob("docs/decisions/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]string{"README.md"}, docs...), decisions...)
}

func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)\)`)
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(readText(t, doc), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
}

// Commands and flags that the documents show exist.
func TestDocsCommands(t *testing.T) {
	root := newRoot(&app{})
	called := regexp.MustCompile("(?:mergescope|go run \\.) ([a-z]+)([^\n`]*)")
	flag := regexp.MustCompile(`--[a-z][a-z-]+|\s-[a-z]\b`)
	shown := 0
	for _, doc := range documents(t) {
		for _, m := range called.FindAllStringSubmatch(readText(t, doc), -1) {
			c, _, err := root.Find([]string{m[1]})
			if err != nil || c == root {
				continue // prose: "mergescope shows ..."
			}
			shown++
			for _, f := range flag.FindAllString(m[2], -1) {
				if !hasFlag(c, strings.TrimSpace(f)) {
					t.Errorf("%s shows %q, but mergescope %s has no flag %s", doc, m[0], m[1], f)
				}
			}
		}
	}
	if shown < 10 {
		t.Errorf("only %d commands found in the documents", shown)
	}
	for _, c := range root.Commands() {
		if c.Name() != "version" && !strings.Contains(readText(t, "README.md"), "mergescope "+c.Name()) {
			t.Errorf("README.md does not show mergescope %s", c.Name())
		}
	}
}

func hasFlag(c *cobra.Command, name string) bool {
	if long, ok := strings.CutPrefix(name, "--"); ok {
		return long == "help" || c.Flags().Lookup(long) != nil || c.InheritedFlags().Lookup(long) != nil
	}
	return c.Flags().ShorthandLookup(strings.TrimPrefix(name, "-")) != nil
}

// What README.md prints under "$ mergescope ..." is what the command prints.
func TestReadmeOutput(t *testing.T) {
	text := readText(t, "README.md")
	if n := strings.Count(text, "\n"); n > 150 {
		t.Errorf("README.md has %d lines, at most 150 are read", n)
	}
	block := regexp.MustCompile("(?s)```console\n\\$ mergescope ([^\n]*)\n(.*?)```")
	matches := block.FindAllStringSubmatch(text, -1)
	if len(matches) == 0 {
		t.Fatal("no console block in README.md")
	}
	for _, m := range matches {
		var args []string
		for _, w := range strings.Fields(m[1]) {
			args = append(args, strings.Trim(w, "'"))
		}
		stdout, stderr, code := command(t, args...)
		if code != exitFine {
			t.Fatalf("mergescope %s: exit code %d\n%s", m[1], code, stderr)
		}
		if !strings.Contains(string(stdout), m[2]) {
			t.Errorf("mergescope %s does not print\n%s\nbut\n%s", m[1], m[2], stdout)
		}
	}
}

// docs/metrics.md defines every figure of a report and every code of an alert.
func TestDocsMetrics(t *testing.T) {
	text := readText(t, "docs/metrics.md")
	for _, name := range metricFields {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/metrics.md does not define %s", name)
		}
	}
	codes := 0
	for _, f := range goFiles(t, "merge") {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Code" {
					continue
				}
				codes++
				code := strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`)
				if !strings.Contains(text, "`"+code+"`") {
					t.Errorf("docs/metrics.md does not list the alert %s", code)
				}
			}
		}
	}
	if codes < 20 {
		t.Errorf("only %d alert codes found in package merge", codes)
	}
}
