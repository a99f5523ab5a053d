# Everything a newcomer needs: "make lab" shows the program at work, "make test" proves it.

PREFIX  ?= /usr/local
DESTDIR ?=
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
GO      ?= go

# A static binary: it runs on whatever router it is copied to.
export CGO_ENABLED ?= 0
BUILD = $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

.PHONY: all build lab test bench bench-flaps bench-traffic lint install uninstall packages clean

all: build

build:
	$(BUILD) -o bin/ftr ./cmd/ftr

# Debian packages that the lab and the tests use; asks for root only if one is missing.
packages:
	@packaging/packages $(PACKAGES)

lab: PACKAGES = lab
lab: packages build
	bin/ftr lab $(LABFLAGS)

test: PACKAGES = lab test
test: packages
	CGO_ENABLED=1 $(GO) test -race -count=1 $(TESTFLAGS) ./...

# Measures the sections "Failover" and "Failover over IPv6" of docs/benchmarks.md and the chart; about 55 minutes. With
# BENCHFLAGS=--quick and BENCH6FLAGS=--quick it only prints, in about eight. Fails if a goal does not hold.
BENCHFLAGS ?= --markdown docs/benchmarks.md --chart docs/failover.svg
BENCH6FLAGS ?= --markdown docs/benchmarks.md
bench: PACKAGES = lab
bench: packages build bench-flaps
	failed=; $(GO) run ./cmd/ftr-bench $(BENCHFLAGS) || failed=1; \
	$(GO) run ./cmd/ftr-bench --family 6 $(BENCH6FLAGS) || failed=1; test -z "$$failed"

# 10,000 flaps of eight simulated lines in five and a half simulated hours; about half a minute. FTR_SEED plays others.
bench-flaps:
	FTR_FLAPS=10000 $(GO) test -count=1 -timeout 10m -run '^TestFlaps$$' -v ./internal/daemon

# Measures the other sections of docs/benchmarks.md; about ten minutes.
bench-traffic: PACKAGES = lab test
bench-traffic: packages
	$(GO) test -count=1 -tags bench -timeout 30m ./internal/e2e -run Bench -v

lint: PACKAGES = lint
lint: packages
	packaging/lint

# Installs the program, its old name, its unit and its user. An existing configuration is left alone.
install: build
	install -D -m 755 bin/ftr $(DESTDIR)$(PREFIX)/bin/ftr
	ln -sf ftr $(DESTDIR)$(PREFIX)/bin/fault_tolerant_router
	install -d $(DESTDIR)/etc/systemd/system $(DESTDIR)$(PREFIX)/share/ftr
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' packaging/ftr.service > $(DESTDIR)/etc/systemd/system/ftr.service
	chmod 644 $(DESTDIR)/etc/systemd/system/ftr.service
	install -m 644 docs/ftr.schema.json $(DESTDIR)$(PREFIX)/share/ftr/ftr.schema.json
	install -m 755 packaging/prefix-hook $(DESTDIR)$(PREFIX)/share/ftr/prefix-hook
	@if [ -z "$(DESTDIR)" ]; then \
		getent passwd ftr >/dev/null || useradd --system --user-group --home-dir /var/lib/ftr --shell /usr/sbin/nologin ftr; \
		install -d -o ftr -g ftr -m 755 /var/log/ftr; \
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi; \
	fi

# Removes what install made; configuration, logs and state stay.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/ftr $(DESTDIR)$(PREFIX)/bin/fault_tolerant_router
	rm -f $(DESTDIR)/etc/systemd/system/ftr.service
	rm -rf $(DESTDIR)$(PREFIX)/share/ftr

clean:
	rm -rf bin lab-report.html
