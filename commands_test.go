package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mergescope/tui"
)

// docs/commands.md says of every command and flag what it is in the interface, or
// why it is nothing there, and names no action that does not exist.
func TestDocsCommandsInTheInterface(t *testing.T) {
	const file = "docs/commands.md"
	named := map[string]bool{}
	for line := range strings.Lines(readText(t, file)) {
		if first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |"); ok && strings.HasPrefix(line, "| ") {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
				for word := range strings.FieldsSeq(m[1]) {
					named[word] = true
				}
			}
		}
	}
	exist := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && f.Name != "help" && f.Name != "version" {
				exist["--"+f.Name] = true
			}
		})
		c.PersistentFlags().VisitAll(func(f *pflag.Flag) { exist["--"+f.Name] = true })
		for _, sub := range c.Commands() {
			if !sub.Hidden {
				exist[sub.Name()] = true
				walk(sub)
			}
		}
	}
	walk(newRoot(&app{}))
	for name := range exist {
		if !named[name] {
			t.Errorf("%s does not say what %s is in the interface", file, name)
		}
	}
	for name := range named {
		if !exist[name] {
			t.Errorf("%s names %s, which does not exist", file, name)
		}
	}
	keys := tui.KeysMarkdown()
	for _, m := range regexp.MustCompile(`\*\*([^*]+)\*\*`).FindAllStringSubmatch(readText(t, file), -1) {
		if !strings.Contains(keys, "| "+m[1]) {
			t.Errorf("%s names the action %q, which does not exist", file, m[1])
		}
	}
}
