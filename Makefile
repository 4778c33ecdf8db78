# The everyday commands. `make check` is what a commit has to pass.

GO         ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
FUZZTIME   ?= 60s

.PHONY: build check lint test race pg bench generate run demo interop slow

build: ## the static binary ./beffroi
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o beffroi ./cmd/beffroi

check: lint test ## everything fast: format, vet, lint, generated documents, tests on SQLite
	$(GO) run ./internal/gendocs -check

lint:
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "not formatted: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else $(GO) run $(STATICCHECK) ./...; fi

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...

pg: ## all tests on both engines; a private PostgreSQL cluster is started for them
	.ci/with-postgres env BEFFROI_CI=1 $(GO) test ./...

bench: ## the tables of docs/benchmarks.md, on both engines as durable as they are for users
	BEFFROI_PG_FSYNC=on .ci/with-postgres $(GO) run ./internal/benchtable
	BEFFROI_PG_FSYNC=on .ci/with-postgres internal/benchtable/servers

generate: ## the documents that are made from the code
	$(GO) run ./internal/gendocs

run: ## a server for trials on 127.0.0.1:8008
	$(GO) run ./cmd/beffroi serve --development

demo: ## three servers that federate, until interrupted
	$(GO) run ./cmd/beffroi demo

interop: ## a Matrix SDK nobody here wrote, against the demo
	test/interop/run

slow: ## the long forms of the tests, then every fuzz target for FUZZTIME
	.ci/with-postgres env BEFFROI_SLOW=yes $(GO) test -timeout 120m ./...
	@for file in $$(git ls-files '*_test.go' | xargs grep -l '^func Fuzz'); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "$$file $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
		done; \
	done
