package heat

import (
	"fmt"

	"mergescope/themes"
)

// sgr returns the SGR parameters that switch on a colour at a depth, as
// foreground or background. The zero Color and NoColor give the terminal's
// default.
func sgr(c themes.Color, d themes.Depth, background bool) string {
	plain, base := "39", 30
	if background {
		plain, base = "49", 40
	}
	if c == (themes.Color{}) {
		return plain
	}
	switch d {
	case themes.TrueColor:
		return fmt.Sprintf("%d;2;%d;%d;%d", base+8, c.R, c.G, c.B)
	case themes.ANSI256:
		return indexed(c.Index256(), background)
	case themes.ANSI16:
		return basic(c.Index16())
	default:
		return plain
	}
}

// indexed returns the SGR parameters of one of xterm's 256 colours.
func indexed(i uint8, background bool) string {
	if background {
		return fmt.Sprintf("48;5;%d", i)
	}
	return fmt.Sprintf("38;5;%d", i)
}

// basic returns the SGR parameter of one of the sixteen colours as foreground.
func basic(i uint8) string {
	if i < 8 {
		return fmt.Sprint(30 + i)
	}
	return fmt.Sprint(90 + i - 8)
}
