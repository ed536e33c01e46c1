# The front door. Every target calls cargo or one script; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help demo dev test quick check soak sim fuzz planted mutants clients wasm page docs package bench

help: ## Shows this list
	@awk -F ': ## ' '/^[a-z]+: ## / { printf "  make %-9s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Moves real records between a local org and Postgres, both ways, through the deployed stack, and proves both sides equal
	@scripts/demo

dev: ## Leaves that stack running, prints its addresses, redeploys a function after a change
	@scripts/dev

test: ## Runs every gate and every test, as CI does
	@scripts/test

quick: ## Runs format, lints and the tests that need no server, after a change
	@scripts/quick

check: ## Runs the gates: format, lints, docs, house rules, wasm purity, dependencies, template
	@scripts/check

soak: ## Lives through random days of users, faults and kills for MINUTES (10), and explains every edit and difference
	@scripts/soak $(MINUTES) $(SEED)

sim: ## Searches simulated worlds for MINUTES (10) for one that breaks an invariant, makes it short and prints it
	@scripts/sim $(MINUTES) $(SEED)

fuzz: ## Searches for bytes that break a parser for MINUTES (10), in all of them or in TARGET
	@scripts/fuzz $(or $(MINUTES),10) $(TARGET)

planted: ## Removes rules of the engine one at a time, plays up to WORLDS (300) worlds until one shows it, and writes docs/planted.md
	@scripts/planted --worlds $(or $(WORLDS),300)

mutants: ## Changes PART (planner) of the code in one place at a time and prints what no test notices; SHARD (1/4) or MINUTES for less
	@scripts/mutants $(PART) $(if $(SHARD),--shard $(SHARD)) $(if $(MINUTES),--minutes $(MINUTES))

clients: ## Plays third-party Salesforce clients against the local org, also the large ones that test leaves out
	@scripts/clients

wasm: ## Builds the planner for browsers and Node into target/wasm
	@scripts/wasm

page: ## Builds the page that shows what the planner would do, for any static host, into target/page
	@scripts/page

docs: ## Builds the guide and the reference, with that page in them, into target/book
	@scripts/docs

package: ## Builds the three function zips for AWS into target/lambda and the npm package of the planner into target/npm
	@scripts/package-functions release
	@scripts/planner-package

bench: ## Measures what the local org takes in a second and in memory, how many records the planner decides, and what capture and changes cost
	@scripts/bench
	@scripts/bench-planner
	@scripts/bench-capture
	@scripts/bench-change
