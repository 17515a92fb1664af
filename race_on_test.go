//go:build race

package main

// underRace tells tests that the race detector slows them down.
const underRace = true
