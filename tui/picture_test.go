package tui

import (
	"image/color"
	"os"
	"testing"

	"mergescope/tui/screentest"
)

// The picture in README.md is the demo with its middle adapter, of which some
// layers keep most and others little, drawn from the cells of the screen.
func TestPicture(t *testing.T) {
	r := demoRig(t, 120, 36, nil)
	r.press("t")
	got := r.screen().SVG(color.RGBA{0xd0, 0xd4, 0xdc, 0xff}, color.RGBA{0x14, 0x17, 0x1d, 0xff})
	const file = "../docs/screen.svg"
	if os.Getenv(screentest.UpdateEnv) != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not the screen; %s=1 writes it", file, screentest.UpdateEnv)
	}
}
