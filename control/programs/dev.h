/*
 * control/programs/dev.h - `kraken dev`: a whole cluster on loopback.
 *
 * A tracker, two origins (storage backend: a directory), a build-index, a
 * proxy and two agents, as child processes under one data directory.  Waits
 * until each is ready, prints where everything is, and stops all of them on
 * SIGINT, SIGTERM, or when one of them dies (which is said, with the last
 * lines of its log).
 */
#ifndef KR_CONTROL_PROGRAMS_DEV_H
#define KR_CONTROL_PROGRAMS_DEV_H

int kr_dev_main(int argc, char **argv);

#endif
