# Cipherlens: what a developer and .ci/run call.
GO          ?= go
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK  = golang.org/x/vuln/cmd/govulncheck@v1.9.0
PLATFORMS    = darwin/arm64 darwin/amd64 linux/amd64 linux/arm64
EXT          = build/cipherlens.ext

export CGO_ENABLED = 0

.PHONY: all build demo test lint cross generate corpus samples bench bench-linkage bench-flows profile bench-packs picture bench-report emulation emulate emulate-quick evaluate fuzz soak bench-allowlist bench-baseline dist dist-test clean warehouse faults vuln
all: build

## build: the extension, build/cipherlens.ext
build: $(EXT)

$(EXT): FORCE
	@mkdir -p build
	$(GO) build -trimpath -o $@ ./extension

FORCE:

## demo: run the pack on the bundled macOS tree and capture; findings as a table, osquery's logs in build/demo
demo: build
	@rm -rf build/demo
	@$(EXT) run --pack packs/an0402.conf --root testdata/demo/root --capture testdata/demo/capture.pcapng \
		--config testdata/demo/config.yaml --log-dir build/demo --once
	@echo "osquery's logs of this run: build/demo/osqueryd.results.log, build/demo/osqueryd.snapshots.log"

## test: every test of every module here, but for the live campaign (make emulate-quick)
test: build
	$(GO) test ./...
	cd testdata && $(GO) test ./...
	cd testdata/pipeline && $(GO) test ./...
	cd testdata/emulation && $(GO) test ./wire

## lint: gofmt, vet, staticcheck, go.mod
lint:
	@out=$$(gofmt -l . | grep -v '/testdata/' ); if [ -n "$$out" ]; then echo "gofmt: $$out"; exit 1; fi
	$(GO) vet ./...
	cd testdata && $(GO) vet ./...
	cd testdata/pipeline && $(GO) vet ./...
	cd testdata/soak && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) mod tidy -diff
	cd testdata && $(GO) mod tidy -diff
	cd testdata/pipeline && $(GO) mod tidy -diff

## vuln: known vulnerabilities in what is called on macOS and Linux; skipped where the database (vuln.go.dev) is out of reach
vuln:
	@mkdir -p build
	@GOBIN=$(CURDIR)/build $(GO) install $(GOVULNCHECK)
	@for os in darwin linux; do \
		echo "vuln $$os"; GOOS=$$os build/govulncheck ./... >build/vuln-$$os.txt 2>&1; status=$$?; cat build/vuln-$$os.txt; \
		if [ $$status != 0 ] && [ $$status != 3 ] && grep -q '^govulncheck: fetching' build/vuln-$$os.txt; then echo "vuln: the database is out of reach: skipped"; exit 0; fi; \
		if [ $$status != 0 ]; then exit 1; fi; \
	done

## cross: build and vet all platforms without cgo, compile the darwin tests
cross:
	@for p in $(PLATFORMS); do \
		echo "cross $$p"; os=$${p%/*}; arch=$${p#*/}; \
		GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -o build/cross/cipherlens-$$os-$$arch.ext ./extension && \
		GOOS=$$os GOARCH=$$arch $(GO) vet ./... || exit 1; \
	done
	@for arch in arm64 amd64; do echo "darwin tests $$arch"; GOOS=darwin GOARCH=$$arch $(GO) test -exec true ./... >/dev/null || exit 1; done

## generate: packs/*.conf from packs/*/*.sql, the tables' section of README.md, and fleet/ from both
generate:
	$(GO) generate ./packs ./tables ./fleet

## corpus: judge the labelled captures beside the project, where they are, and score the verdicts
corpus: build
	@if [ -d ../shared/corpus ]; then \
		find ../shared/corpus -name '*.*cap*' | sort | xargs -d '\n' $(EXT) flows --json > build/flows.jsonl; \
		python3 ../shared/corpus/score.py --disputed docs/disputed.tsv --min-tpr 0.99 --max-fpr 0.0005 --min-named 0.99 --min-by-file 0.98 build/flows.jsonl; \
	else echo "corpus: ../shared/corpus is not here: skipped"; fi

## samples: fetch the real macOS programs that tests compare with, outside the repository
samples:
	sh internal/macho/testdata/samples/fetch.sh ../shared/macho/samples.tsv

## bench: how fast it is, beside its peers in the same run
bench: bench-linkage bench-flows

## bench-linkage: Mach-O files a second beside debug/macho and go-macho, launchd jobs, and all jobs of a host with 1,000
bench-linkage:
	@$(GO) test -run '^$$' -bench '^BenchmarkRead$$' -benchtime 3s ./internal/macho | awk ' \
		{ print } \
		/^BenchmarkRead\// { for (i = 3; i < NF; i++) if ($$(i + 1) == "files/s") { split($$1, n, /[\/-]/); rate[n[2]] = $$i } } \
		END { for (peer in rate) if (peer != "ours") printf "macho.Read reads %.1f times as many files a second as %s\n", rate["ours"] / rate[peer], peer }'
	@$(GO) test -run '^$$' -bench '^BenchmarkJobs$$' -benchtime 2s ./internal/launchd
	@$(GO) test -run '^$$' -bench '^BenchmarkThousandJobs$$' -benchtime 3x ./tables

## bench-flows: packets a second through read, decode, flow and judge, beside nDPI's ndpiReader on the same capture
bench-flows: build
	@./testdata/bench-flows.sh

## picture: docs/report.png, the demo's report in Chromium
picture: build
	@mkdir -p build
	$(EXT) report --root testdata/demo/root --capture testdata/demo/capture.pcapng --config testdata/demo/config.yaml -o build/report.html
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1100,980 --screenshot=docs/report.png file://$(CURDIR)/build/report.html

## profile: extension/default.pgo anew: what the compiler optimizes by, measured on the test captures (../shared/corpus)
profile:
	@[ -d ../shared/corpus ] || { echo "profile: no captures in ../shared/corpus: skipped"; exit 0; }; \
	mkdir -p build && (cd testdata && $(GO) build -o ../build/ ./merge ./profile) && \
	find ../shared/corpus -name '*.*cap*' | sort | xargs -d '\n' build/merge -o build/all.pcap -copies 8 2>/dev/null && \
	CAPTURE=$(CURDIR)/build/all.pcap GOGC=400 GOMAXPROCS=1 $(GO) test -trimpath -run '^$$' -bench '^BenchmarkCapture$$/judge' -benchtime 60x \
		-cpuprofile build/cpu.prof -o build/sensor.test ./internal/sensor && \
	build/profile build/cpu.prof extension/default.pgo && rm -f build/all.pcap build/sensor.test

## bench-report: opening the report's page of 100,000 flows in Chromium
bench-report:
	cd testdata && $(GO) test -run '^$$' -bench '^BenchmarkOpen$$' -benchtime 5x ./reportpage

## bench-packs: the time of every query of every pack on a made host with 500 jobs, 800 processes and 5,000 flows (1 s each at most)
bench-packs:
	@$(GO) test -run '^$$' -bench '^BenchmarkPacks$$' -benchtime 3x ./extension

# The clients, servers and the runner of the emulation, a Go module of its own.
EMULATION = build/emulation
emulation:
	@mkdir -p $(EMULATION)
	cd testdata/emulation && $(GO) build -trimpath -o ../../$(EMULATION)/ ./peer ./benign ./campaign
	cd testdata/emulation && $(GO) build -trimpath -tags plain -o ../../$(EMULATION)/peer-plain ./peer && $(GO) build -trimpath -tags plain -o ../../$(EMULATION)/benign-plain ./benign
	cd testdata && $(GO) build -trimpath -o ../$(EMULATION)/ ./annotate
	cd testdata/emulation && for name in frp poseidon-tcp sliver-http sliver-mtls; do \
		GOOS=darwin GOARCH=arm64 $(GO) build -trimpath -ldflags=-buildid=$$name -o ../../$(EMULATION)/peer-darwin-$$name ./peer || exit 1; done

## emulate: emulated implants and real benign programs, live under the sensor; writes docs/detection-report.md. Needs root; EMULATE_FLAGS=-install for the programs, OSQUERYD for a real osqueryd
EMULATE_RUNS  ?= 5
EMULATE_TIME  ?= 10m
EMULATE_FLAGS ?=
emulate: build emulation
	$(EMULATION)/campaign -ext $(EXT) -bin $(EMULATION) -runs $(EMULATE_RUNS) -time $(EMULATE_TIME) $(EMULATE_FLAGS)

## emulate-quick: the same with one run, half of the shapes and without the slow programs, in less than a minute; writes build/detection-report.md
emulate-quick: build emulation
	$(EMULATION)/campaign -ext $(EXT) -bin $(EMULATION) -quick -time 90s -out build/detection-report.md $(EMULATE_FLAGS)

## warehouse: the result logs of 10,000 made hosts and 30 days in ClickHouse: loaded, asked, compared, with what each query costs at 1,000, 3,000 and 10,000
warehouse: build
	WAREHOUSE_HOSTS=10000 $(GO) test -count=1 -v -run '^TestWarehouse$$' -timeout 60m ./fleet/warehouse

## evaluate: detection against false alarms over the threshold, for each length of sample: build/evaluate/roc-*.tsv, .svg and .png; labelled captures where ../shared/corpus is
evaluate:
	@mkdir -p $(EMULATION)
	cd testdata/emulation && $(GO) build -trimpath -o ../../$(EMULATION)/ ./evaluate
	$(EMULATION)/evaluate

## soak: the extension under 20,000 packets a second for SOAK_TIME, and whether it stays within its goals (root, Linux; see docs/soak.md)
SOAK_TIME ?= 10m
soak: build
	@if [ "$$(uname)" != Linux ]; then echo "soak: Linux only: skipped"; exit 0; fi; \
	cd testdata/soak && $(GO) build -o ../../build/soak . && $(GO) build -o ../../build/soak-client ./client && cd ../.. && \
	build/soak --time $(SOAK_TIME) --series build/soak.tsv $(SOAK_FLAGS)

## bench-allowlist: 100,000 rules: how long loading takes, what they keep in memory, how long one flow takes to match
bench-allowlist:
	@$(GO) test -run '^$$' -bench '^Benchmark(Load|Match)$$' -benchtime 1s ./internal/allowlist

## bench-baseline: lines a second of baseline learn on 30 days of 10,000 hosts, beside wc, Python and jq; every count checked
bench-baseline: build
	@GO=$(GO) ./testdata/bench-baseline.sh

## fuzz: every fuzz target for FUZZTIME (a minute)
FUZZTIME ?= 1m
fuzz:
	@grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
		grep -oE '^func Fuzz[A-Za-z]*' $$file | sed 's/^func //' | while read -r target; do \
			echo "== $$(dirname $$file) $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./$$(dirname $$file) </dev/null || exit 1; \
		done || exit 1; \
	done

## faults: breaks things around a running extension, FAULTS times in an order given by FAULT_SEED (root; about 25 minutes for 500)
FAULTS     ?= 500
FAULT_SEED ?= 1
faults: build
	cd testdata && $(GO) build -o ../build/faults ./faults
	build/faults -n $(FAULTS) -seed $(FAULT_SEED) -ext $(EXT)

## dist: what is released, in build/dist: macOS universal, Linux amd64 and arm64, .deb, .rpm, the macOS package's payload, SBOMs, SHA-256 sums
dist:
	packaging/dist.sh build/dist

## dist-test: the release builds to the same bytes twice; the .deb installs, upgrades, downgrades and goes in a fresh Debian (root, debootstrap)
dist-test:
	packaging/test-reproducible.sh
	packaging/test-deb.sh

clean:
	rm -rf build
