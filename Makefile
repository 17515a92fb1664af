# Shortcuts. Everything works without make too: see .ci/run.

.PHONY: build test race vet fmt lint fuzz bench docs ci

build:
	go build -trimpath -ldflags=-s -o mergescope .

test:
	go test ./...

race:
	go test -race ./...

vet:
	go vet ./...

fmt:
	go run mvdan.cc/gofumpt@v0.12.0 -w .

lint: vet
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

# Each fuzz target for FUZZTIME.
FUZZTIME ?= 30s
fuzz:
	@for pkg in ./loader ./quant ./merge; do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

bench:
	go test -run '^$$' -bench . -benchmem ./quant ./merge

# Files under docs/ that come from the code.
docs:
	MERGESCOPE_UPDATE=1 go test -run 'TestDocsKeys|TestDocsScreens|TestPicture' . ./tui

ci:
	.ci/run
