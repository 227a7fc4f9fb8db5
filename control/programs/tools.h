/*
 * control/programs/tools.h - commands for people: they print and end.
 */
#ifndef KR_CONTROL_PROGRAMS_TOOLS_H
#define KR_CONTROL_PROGRAMS_TOOLS_H

/* kraken config check ROLE [flags of the role]: load, print every key.
 * kraken config keys ROLE: every key with type, default and help. */
int kr_config_main(int argc, char **argv);

/* kraken status HOST:PORT...: health, readiness and the main figures of each
 * server port. */
int kr_status_main(int argc, char **argv);

#endif
