package merge

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestLogMerges(t *testing.T) {
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := Log{Now: func() time.Time { clock = clock.Add(time.Second); return clock }}
	first := newAlert(Warning, CodeErased, "x", "first").at(Place{File: "f", Row: 1, Col: 2})
	l.Add(first)
	l.Add(newAlert(Warning, CodeErased, "y", "other layer"))
	l.Add(newAlert(Warning, CodeErased, "x", "again").at(Place{File: "f", Row: 9, Col: 9}))
	all := l.All()
	if len(all) != 2 {
		t.Fatalf("%d alerts, want 2", len(all))
	}
	got := all[0]
	if got.Layer != "x" || got.Count != 2 || got.Place != first.Place || got.Message != "first" {
		t.Errorf("got %+v", got)
	}
	if d := got.Last.Sub(got.First); d != 2*time.Second {
		t.Errorf("from first to last %v, want 2s", d)
	}
}

func TestLogKeepsFindingsAboutTheModelApart(t *testing.T) {
	var l Log
	l.Add(newAlert(Warning, CodeUnmatched, "", "adapter a"), newAlert(Warning, CodeUnmatched, "", "adapter b"), newAlert(Warning, CodeUnmatched, "", "adapter a"))
	if all := l.All(); len(all) != 2 || all[0].Message != "adapter a" || all[0].Count != 2 {
		t.Errorf("got %+v", all)
	}
}

func TestLogAcknowledge(t *testing.T) {
	var l Log
	l.Add(newAlert(Info, CodeNonFinite, "x", "note"), newAlert(Warning, CodeWeak, "y", "weak"))
	l.Acknowledge(l.All()[1])
	if got, want := l.Counts(), [3]int{0, 1, 0}; got != want {
		t.Errorf("counts %v, want %v", got, want)
	}
	l.Add(newAlert(Error, CodeNonFinite, "x", "worse"))
	if got, want := l.Counts(), [3]int{0, 1, 1}; got != want {
		t.Errorf("counts after a rise %v, want %v", got, want)
	}
	if a := l.All()[0]; a.Message != "worse" || a.Level != Error || a.Acknowledged {
		t.Errorf("after a rise %+v", a)
	}
	l.AcknowledgeAll()
	if got := l.Counts(); got != [3]int{} {
		t.Errorf("counts %v, want none", got)
	}
}

func TestLogIsBounded(t *testing.T) {
	var l Log
	for i := range maxAlerts + 500 {
		l.Add(newAlert(Warning, CodeErased, fmt.Sprint("layer.", i), "erased"))
	}
	all := l.All()
	if len(all) != maxAlerts+1 {
		t.Errorf("%d alerts, want %d", len(all), maxAlerts+1)
	}
	if a := all[0]; a.Layer != "" || a.Count != 500 {
		t.Errorf("newest is %+v, want the 500 further layers", a)
	}
}

func TestLogConcurrently(t *testing.T) {
	const workers, rounds, layers = 8, 500, 5
	var l Log
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds {
				l.Add(newAlert(Warning, CodeErased, fmt.Sprint(i%layers), "m"))
				if i%50 == 0 {
					l.All()
					l.Counts()
					l.Acknowledge(l.All()[0])
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, a := range l.All() {
		total += a.Count
	}
	if total != workers*rounds {
		t.Errorf("counted %d, want %d", total, workers*rounds)
	}
}

// The shape is product.md section 3, alerts.
func TestAlertJSON(t *testing.T) {
	a := Alert{Level: Warning, Code: CodeErased, Layer: "l", Place: Place{File: "f", Tensor: "t", Row: 3, Col: -1}, Message: "m", Hint: "h", Count: 2, First: time.Now()}
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"level":"warning","code":"erased","layer":"l","place":{"file":"f","tensor":"t","row":3,"col":-1},"message":"m","hint":"h","count":2}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var back Alert
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	a.First = time.Time{}
	if back != a {
		t.Errorf("read back as %+v", back)
	}
	data, err = json.Marshal(newAlert(Info, CodeNoisy, "", "m"))
	if err != nil {
		t.Fatal(err)
	}
	want = `{"level":"info","code":"noisy","layer":"","place":null,"message":"m","hint":` + quoteJSON(HintFor(CodeNoisy)) + `,"count":1}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	if err := json.Unmarshal([]byte(`{"level":"loud"}`), &back); err == nil {
		t.Error("an unknown level passes")
	}
}

func TestSortAlerts(t *testing.T) {
	alerts := []Alert{
		newAlert(Info, CodeNoisy, "a", ""),
		newAlert(Warning, CodeErased, "layers.10.q", ""),
		newAlert(Warning, CodeErased, "layers.2.q", ""),
		newAlert(Error, CodeNonFinite, "z", ""),
	}
	SortAlerts(alerts)
	for i, want := range []string{"z", "layers.2.q", "layers.10.q", "a"} {
		if alerts[i].Layer != want {
			t.Errorf("place %d has %q, want %q", i, alerts[i].Layer, want)
		}
	}
}
