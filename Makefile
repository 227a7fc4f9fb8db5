# Thin on purpose: the build is CMake's, what the targets do is in test/.
BUILD ?= build/gcc

.PHONY: build demo test conformance bench-swarm bench-swarm-real bench-dataplane clean

build: # the executable: build/gcc/kraken
	bash test/setup.sh build
	cmake -S . -B $(BUILD) -G Ninja
	ninja -C $(BUILD) kraken

demo: # an image through the whole system, to be watched
	bash test/setup.sh demo
	cmake -S . -B $(BUILD) -G Ninja
	ninja -C $(BUILD) kraken
	bash test/demo/demo.sh $(BUILD)/kraken

test: # everything that a change has to pass
	bash test/run.sh

conformance: # the official suite of the OCI, which needs Go
	cmake -S . -B $(BUILD) -G Ninja
	ninja -C $(BUILD) kraken
	BUILD=$(BUILD) bash test/conformance/official.sh $(abspath $(BUILD))/kraken

bench-swarm: # the simulated swarm; SCENARIO=name SEED=n for one run
	bash test/setup.sh bench
	SCENARIO="$(SCENARIO)" SEED="$(SEED)" sh bench/bench_swarm.sh

bench-swarm-real: # real agents, as root: a crowd, and hosts against swarm_sim
	cmake -S . -B build/bench -G Ninja
	ninja -C build/bench kraken swarm_real swarm_sim
	bash bench/swarm_real/swarm_real.sh crowd $(AGENTS)
	bash bench/swarm_real/swarm_real.sh hosts $(HOSTS)

bench-dataplane: # beside nginx and others, as root; CASE="name ..." for some
	bash test/setup.sh bench
	cmake -S . -B build/dataplane -G Ninja
	ninja -C build/dataplane kraken dataplane
	BUILD=build/dataplane bash bench/dataplane/dataplane.sh $(CASE)

clean:
	rm -rf build
