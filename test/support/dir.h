/*
 * test/support/dir.h - a directory for one test, and its end.
 */
#ifndef KR_TEST_DIR_H
#define KR_TEST_DIR_H

#define DIR_LEN_MAX 64 /* of a test's directory, '\0' included */

/* Make an empty directory, @ret its path.  The test fails where it cannot. */
void make_dir(char ret[DIR_LEN_MAX]);

/* Remove @dir and all that is in it; 0, or -1 if something stays. */
int remove_dir(const char *dir);

#endif
