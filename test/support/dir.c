#define _GNU_SOURCE
#include "test/support/dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/support/test.h"

void make_dir(char ret[DIR_LEN_MAX])
{
	strcpy(ret, "/tmp/kr-test-XXXXXX");
	assert_non_null(mkdtemp(ret));
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *at)
{
	(void)st;
	(void)flag;
	(void)at;
	return remove(path);
}

int remove_dir(const char *dir)
{
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
