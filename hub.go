package main

import (
	"errors"

	"mergescope/loader"
	"mergescope/loader/remote"
)

// hubFlag is --hub: no hub is asked anything unless a command line names it.
type hubFlag struct {
	source *loader.Source
	getenv func(string) string
}

func (f *hubFlag) String() string { return "" }
func (f *hubFlag) Type() string   { return "URL" }

// Set names the hub that names are looked for on.
func (f *hubFlag) Set(text string) error {
	if text == "env" {
		if text = f.getenv("HF_ENDPOINT"); text == "" {
			return errors.New("HF_ENDPOINT is not set")
		}
	}
	u, err := remote.ParseURL(text)
	if err != nil {
		return err
	}
	f.source.Web.Trust(u, loader.HubToken(f.getenv))
	f.source.Hub = u.String()
	return nil
}
