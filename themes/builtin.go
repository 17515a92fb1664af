package themes

import (
	"embed"
	"fmt"
	"path"
)

//go:embed builtin/*.json
var builtin embed.FS

// Default returns the theme to begin with on a dark or a light background. Both
// use the hues of Okabe and Ito (2008), which people with any common colour
// deficiency tell apart.
func Default(dark bool) Theme {
	if dark {
		return mustLoad("dark")
	}
	return mustLoad("light")
}

// Names lists the built-in themes, the defaults first.
func Names() []string { return []string{"dark", "light", "classic-dark", "classic-light"} }

// ByName returns a built-in theme.
func ByName(name string) (Theme, bool) {
	for _, n := range Names() {
		if n == name {
			return mustLoad(n), true
		}
	}
	return Theme{}, false
}

// mustLoad reads an embedded theme; a test loads each.
func mustLoad(name string) Theme {
	f, err := builtin.Open(path.Join("builtin", name+".json"))
	if err != nil {
		panic(fmt.Sprintf("themes: internal error: %v", err))
	}
	defer f.Close()
	t, err := Load(f)
	if err != nil {
		panic(fmt.Sprintf("themes: internal error: %s: %v", name, err))
	}
	return t
}
