package tui

import (
	"strings"
	"testing"
	"time"

	"mergescope/merge"
	"mergescope/themes"
)

func feedOf(alerts ...merge.Alert) *alertsPane {
	p := &alertsPane{book: bookOf("l.0.a", "l.0.b")}
	p.resize(20)
	p.set(alerts)
	return p
}

func plainCanvas() canvas { return canvas{paint: newPaint(themes.Theme{}, themes.NoColor)} }

func TestAlertsMergeAndSort(t *testing.T) {
	at := testTime()
	p := feedOf(
		merge.Alert{Level: merge.Info, Code: merge.CodeNoisy, Layer: "l.0.a", Message: "noisy", Count: 1},
		merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Layer: "l.0.a", Message: "erased", Count: 3, First: at},
		merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Layer: "l.0.a", Message: "erased", Count: 2, First: at.Add(time.Second)},
		merge.Alert{Level: merge.Error, Code: merge.CodeNonFinite, Layer: "l.0.b", Message: "nan", Count: 1},
	)
	text := strings.Join(p.draw(plainCanvas(), 80, 20), "\n")
	if strings.Count(text, "erased") != 1 || !strings.Contains(text, "erased (3 times)") {
		t.Errorf("the same alert of two jobs is shown twice or its counts add up:\n%s", text)
	}
	if p.current().Code != merge.CodeNonFinite {
		t.Errorf("the first alert is %s, want the error", p.current().Code)
	}
	if n := p.counts(); n != [...]int{1, 1, 1} {
		t.Errorf("counts %v", n)
	}
	p.acknowledge(false)
	if n := p.counts(); n != [...]int{1, 1, 0} {
		t.Errorf("counts %v after acknowledging the error", n)
	}
	p.cycleLevel()
	p.cycleLevel()
	if len(p.rows) != 1 {
		t.Errorf("%d rows with errors only", len(p.rows))
	}
}

func TestManyAlertsOfACodeShareARow(t *testing.T) {
	var many []merge.Alert
	for _, l := range []string{"a", "b", "c", "d", "e"} {
		many = append(many, merge.Alert{Level: merge.Warning, Code: merge.CodeErased, Layer: l, Message: "gone", Count: 1})
	}
	p := feedOf(many...)
	if len(p.rows) != 1 || p.rows[0].n != 5 {
		t.Fatalf("rows %+v, want one group of 5", p.rows)
	}
	if p.unfold(true); len(p.rows) != 6 {
		t.Errorf("%d rows unfolded, want 6", len(p.rows))
	}
	p.move(3)
	if p.current().Layer != "c" {
		t.Errorf("cursor on %q", p.current().Layer)
	}
	p.set(many) // as each poll does
	if p.current().Layer != "c" {
		t.Errorf("cursor on %q after the same alerts came again", p.current().Layer)
	}
	p.set(append([]merge.Alert{{Level: merge.Error, Code: merge.CodeNonFinite, Layer: "x", Message: "nan", Count: 1}}, many...))
	if p.current().Layer != "c" {
		t.Errorf("cursor on %q after a worse alert came", p.current().Layer)
	}
	p.set(many)
	if p.unfold(false); p.cur != 0 || len(p.rows) != 1 {
		t.Error("closing from inside does not go to the group")
	}
}

func TestHostileNamesAreHarmless(t *testing.T) {
	p := feedOf(merge.Alert{Level: merge.Error, Code: merge.CodeShape, Layer: "l.\x1b[2J\x07", Message: "bad\x1b]0;title\x07\nline", Hint: "\x1b[31m"})
	for _, l := range p.draw(plainCanvas(), 80, 6) {
		if i := strings.IndexAny(strings.ReplaceAll(strings.ReplaceAll(l, "\x1b[1m", ""), sgrReset, ""), "\x1b\x07\n"); i >= 0 {
			t.Errorf("control characters reach the terminal: %q", l)
		}
	}
}

// TestEveryCodeIsShown draws an alert of each code: its message, and its remedy
// in the bar below.
func TestEveryCodeIsShown(t *testing.T) {
	for _, code := range merge.Codes() {
		p := feedOf(merge.Alert{Level: merge.Warning, Code: code, Layer: "l.0.a", Message: "message of " + string(code), Hint: merge.HintFor(code), Count: 1})
		text := strings.Join(p.draw(plainCanvas(), 400, 20), "\n")
		if !strings.Contains(text, "message of "+string(code)) || !strings.Contains(text, merge.HintFor(code)) {
			t.Errorf("%s is not shown with its remedy:\n%s", code, text)
		}
	}
}
