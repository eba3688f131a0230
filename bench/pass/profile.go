package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// profiled is a file that is compiled into the product when profiles are asked
// for, and never else: what is shipped has no profiler.
//
//go:embed profiled.go.txt
var profiled []byte

// profilingOverlay writes what `go build -overlay` reads: the product's main
// with the profiler around it.
func profilingOverlay(dir string) (string, error) {
	product, err := filepath.Abs("../cmd/imapsync")
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(filepath.Join(product, "main.go"))
	if err != nil {
		return "", err
	}
	wrapped := strings.Replace(string(source), "os.Exit(Main(", "os.Exit(profiledMain(", 1)
	if wrapped == string(source) {
		return "", errors.New("cmd/imapsync/main.go has no os.Exit(Main( to put the profiler around")
	}
	replace := map[string]string{
		filepath.Join(product, "main.go"):     filepath.Join(dir, "main.go"),
		filepath.Join(product, "profiled.go"): filepath.Join(dir, "profiled.go"),
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, errors.Join(
		os.WriteFile(filepath.Join(dir, "main.go"), []byte(wrapped), 0o600),
		os.WriteFile(filepath.Join(dir, "profiled.go"), profiled, 0o600),
		os.WriteFile(path, overlay, 0o600))
}
