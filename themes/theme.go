package themes

// Depth is how many colours a terminal shows.
type Depth uint8

// Depths, in rising order.
const (
	NoColor Depth = iota
	ANSI16
	ANSI256
	TrueColor
)

// Color is an sRGB colour.
type Color struct{ R, G, B uint8 }

// Role names what a colour is for. Text always keeps the terminal's own
// foreground, so it has no role.
type Role uint8

// Roles of the screen.
const (
	Dim         Role = iota // secondary text, rulers, hints
	Accent                  // the application's name, links
	Border                  // frame of a pane
	BorderFocus             // frame and title of the focused pane
	Title                   // title of a pane
	Key                     // key letters in hints
	Good                    // kept near 1, finished
	Warn                    // warnings, weak
	Bad                     // errors, erased, non-finite
	Note                    // info
	Mark                    // marked rows
	Select                  // background of the cursor row
	Cursor                  // cursor on a heatmap
	Track                   // unfilled part of bars
	NumRoles
)

var roleNames = [NumRoles]string{
	"dim", "accent", "border", "border-focus", "title", "key", "good", "warn",
	"bad", "note", "mark", "select", "cursor", "track",
}

// String returns the name a role has in theme files, for example "border-focus".
func (r Role) String() string {
	if r < NumRoles {
		return roleNames[r]
	}
	return "unknown"
}

// Theme gives every role a colour. The zero Color in a role means the
// terminal's default.
type Theme struct {
	Name   string
	Dark   bool
	Colors [NumRoles]Color
	Map    string // name of the preferred heat map
}
