# Two commands matter: `make run` and `make test`. Each installs what is missing first.
.DEFAULT_GOAL := help
.PHONY: help run run-all wheel wheel-dev test test-oldest campaign stress check audit bench bench-spark soak fuzz setup servers

CARGO ?= cargo
# Two cores and several real servers: more tests at once would only wait for each other.
TEST_THREADS ?= 4

# Two cores are little for what these start: one after the other, when all others are done.
ALONE = campaign::seeds spark:: airflow:: jupyterhub:: platform:: cluster:: sessions::

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: ## Install what is missing: Java, Maven, a C compiler, libraries of the servers
	@scripts/setup.sh

run: setup ## The whole cycle on this machine; options: make run ARGS="--size small --rate 200"
	@echo "building the release binary"
	@$(CARGO) build --release --locked -p tidemart
	@exec "$${CARGO_TARGET_DIR:-target}/release/tidemart" up $(ARGS)

run-all: setup wheel ## The same with a Spark cluster, Airflow and JupyterHub
	@echo "building the release binary"
	@$(CARGO) build --release --locked -p tidemart
	@exec "$${CARGO_TARGET_DIR:-target}/release/tidemart" up --all $(ARGS)

wheel: setup ## The wheel pyspark_tidemart for a Spark cluster, beside the release binary
	@echo "building the wheel for Spark"
	@scripts/wheel.sh release

wheel-dev: setup
	@echo "building the wheel for Spark"
	@scripts/wheel.sh dev

test: setup servers wheel-dev ## Every test, real servers included; ARGS goes to cargo test
	@status=0; \
	$(CARGO) test --workspace --locked $(ARGS) -- --test-threads $(TEST_THREADS) $(ALONE:%=--skip %) || status=$$?; \
	$(CARGO) test --workspace --locked $(ARGS) -- --test-threads 1 $(ALONE) || status=$$?; \
	exit $$status

test-oldest: setup servers ## The tests of data with the oldest servers, Postgres 15 and MariaDB 10.11, as Debian 12 has them
	@scripts/setup.sh oldest
	TIDEMART_TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin TIDEMART_TEST_MARIADB_BIN=/usr/bin \
		$(CARGO) test --locked -p tidemart-postgres -p tidemart-mysql -p tidemart-marts -p tidemart-verify -p tidemart $(ARGS) -- --test-threads $(TEST_THREADS)

campaign: setup servers ## Random faults and workloads; SEEDS=200 for so many seeds, SEEDS=71-200 to go on, SEED=17 for one alone
	CAMPAIGN_SEEDS="$(SEEDS)" CAMPAIGN_SEED="$(SEED)" $(CARGO) test --locked -p tidemart --test main -- --exact campaign::seeds --nocapture

stress: setup servers ## A transaction of a million rows, one of 2 GB, a thousand tables, in the release build; ARGS=rows, bytes, tables or packet for one; 20 GB of disk
	STRESS=full $(CARGO) test --release --locked -p tidemart --test main -- stress::$(ARGS) --test-threads 1 --nocapture

# Before the tests, whose time limits are not made for a slow network. Built with the same features as they are.
servers: setup
	@echo "fetching the servers, unless they are there: Postgres, Kafka, MariaDB, MySQL"
	@said=$$($(CARGO) test --workspace --locked --lib --quiet -- every_server_is_fetched) || { echo "$$said"; exit 1; }

check: setup ## Formatting, lints and documentation, warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

audit: ## Licences, sources, unused dependencies, advisories
	@scripts/setup.sh audit
	$(CARGO) deny --locked check bans licenses sources
	$(CARGO) machete
	$(CARGO) deny --locked check advisories

bench: setup ## Measure, beside Debezium with its JDBC sink; ARGS="--help" tells more
	$(CARGO) bench --locked -p tidemart --bench cycle -- $(ARGS)

bench-spark: setup wheel ## Measure the consumer and marts on Spark, beside PySpark, and the platform; ARGS="--runs 1" and what `make bench` takes
	$(CARGO) bench --locked -p tidemart --bench cycle -- spark-drain spark-latency spark-mart platform $(ARGS)

soak: setup wheel ## The consumer on Spark under load, half an hour: neither memory nor lag may grow; ARGS="--minutes 60" for longer
	$(CARGO) bench --locked -p tidemart --bench cycle -- soak --runs 1 --peer none $(ARGS)

FUZZ_SECONDS ?= 600

fuzz: setup ## Fuzz the decoders, FUZZ_SECONDS each; needs a nightly compiler and cargo-fuzz
	@cargo fuzz --version >/dev/null 2>&1 || { echo "run: rustup toolchain install nightly && cargo install cargo-fuzz --locked"; exit 1; }
	@test -d fuzz/corpus || tar -C fuzz -xJf fuzz/corpus.tar.xz
	@for target in pgoutput envelope positions configuration; do \
		$(CARGO) +nightly fuzz run --fuzz-dir fuzz --sanitizer none $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 || exit 1; \
	done
