package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkScreen runs the interface in a pseudo terminal of 24-bit colours on a
// checkpoint of 1000 layers of seven weights. It reports what the terminal gets
// and what the process takes: while idle, while a merge runs, and while the
// cursor moves through the layers during a merge.
//
//	go test -run '^$' -bench Screen -benchtime 1x .
func BenchmarkScreen(b *testing.B) {
	for _, size := range [][2]int{{120, 36}, {200, 60}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			for b.Loop() {
				benchScreen(b, size[0], size[1])
			}
		})
	}
}

func benchScreen(b *testing.B, w, h int) {
	model, adapter := writeLarge(b, 1000, 128)
	home := b.TempDir()
	env := []string{"TERM=xterm-256color", "COLORTERM=truecolor", "NO_COLOR=", "HOME=" + home, "XDG_CONFIG_HOME=" + home}
	begun := time.Now()
	s := startScreenAs(b, env, w, h, model, "-a", adapter, "--no-session")
	s.wait("begun", func() bool { return strings.Contains(s.term.Raw(), "7000/7000") })
	b.ReportMetric(float64(time.Since(begun).Milliseconds()), "first-ms")
	s.wait("busy", func() bool { return s.status() == "working" })
	s.wait("idle", func() bool { return s.status() == "idle" })
	time.Sleep(time.Second) // what follows the last frame

	const rest = 5 * time.Second
	written, took := s.term.Written(), cpuTime(b, s)
	time.Sleep(rest)
	b.ReportMetric(float64(s.term.Written()-written)/rest.Seconds(), "idle-B/s")
	b.ReportMetric(float64((cpuTime(b, s)-took).Microseconds())/rest.Seconds(), "idle-cpu-us/s")

	for _, keys := range []string{"", "j"} {
		name := "merge"
		if keys != "" {
			name = "merge-moving"
		}
		took := cpuTime(b, s)
		mean, peak := benchMerge(b, s, filepath.Join(home, name), keys)
		b.ReportMetric(float64((cpuTime(b, s) - took).Milliseconds()), name+"-cpu-ms")
		b.ReportMetric(mean, name+"-B/s")
		b.ReportMetric(peak, name+"-peak-B/s")
	}
	c := exec.Command("mergescope", "merge", model, "-a", adapter, "-o", filepath.Join(home, "command"))
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	b.ReportMetric(float64((c.ProcessState.UserTime() + c.ProcessState.SystemTime()).Milliseconds()), "command-cpu-ms")
}

// benchMerge merges into out while keys are typed ten times a second, and returns
// bytes a second in the mean and in the worst second.
func benchMerge(b *testing.B, s *ptySession, out, keys string) (mean, peak float64) {
	b.Helper()
	s.typeKeys("m")
	time.Sleep(200 * time.Millisecond) // the dialog and the free name
	s.typeKeys("\x15" + out + "\r")    // in place of the proposal
	s.wait("merging", func() bool { return s.status() == "working" })
	const tick = 100 * time.Millisecond
	written := []int{s.term.Written()}
	for s.status() == "working" {
		time.Sleep(tick)
		if keys != "" {
			s.typeKeys(keys)
		}
		written = append(written, s.term.Written())
	}
	n := len(written) - 1
	per := int(time.Second / tick)
	for i := range written {
		if i >= per {
			peak = max(peak, float64(written[i]-written[i-per]))
		}
	}
	s.wait("hearing keys", func() bool { return s.status() != "blocked" })
	s.typeKeys("\r")
	return float64(written[n]-written[0]) / (float64(n) * tick.Seconds()), peak
}

// cpuTime is what the process took so far, to the hundredth of a second.
func cpuTime(b *testing.B, s *ptySession) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		b.Skip("needs /proc")
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold spaces
	fields := strings.Fields(rest)
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
