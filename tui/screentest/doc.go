// Package screentest turns frames into cells, compares them with golden files
// and feeds real terminal bytes to an emulator. Only tests use it.
package screentest
