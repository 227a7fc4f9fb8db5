# Thin on purpose: the build is CMake's, what the targets do is in test/.
BUILD ?= build/gcc

.PHONY: build demo test bench-swarm clean

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

bench-swarm: # the simulated swarm; SCENARIO=name SEED=n for one run
	bash test/setup.sh bench
	SCENARIO="$(SCENARIO)" SEED="$(SEED)" sh bench/bench_swarm.sh

clean:
	rm -rf build
