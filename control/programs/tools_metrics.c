#include "control/programs/tools_metrics.h"

#include <stdlib.h>
#include <string.h>

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end != NULL ? end + 1 : line + strlen(line);
}

/* What follows @metric in @line and its labels, if @line is about it. */
static const char *value_in(const char *line, const char *metric)
{
	const size_t len = strlen(metric);

	if (strncmp(line, metric, len) != 0)
		return NULL;
	line += len;
	if (*line == '{' && metric[len - 1] != '}') {
		line += strcspn(line, "}\n");
		line += *line == '}';
	}
	return *line == ' ' ? line + 1 : NULL;
}

bool kr_tools_metric_sum(const char *text, const char *metric, double *ret)
{
	double sum = 0;
	bool found = false;

	for (const char *line = text; *line != '\0'; line = next_line(line)) {
		const char *value = value_in(line, metric);
		if (value == NULL)
			continue;
		sum += strtod(value, NULL);
		found = true;
	}
	if (found)
		*ret = sum;
	return found;
}

/* The value of @key="..." between @it and @end, or NULL. */
static const char *find_label(const char *it, const char *end, const char *key)
{
	const size_t len = strlen(key);

	for (; it + len + 2 < end; it++) {
		if ((*it == '{' || *it == ',') &&
		    strncmp(it + 1, key, len) == 0 &&
		    strncmp(it + 1 + len, "=\"", 2) == 0)
			return it + 1 + len + 2;
	}
	return NULL;
}

bool kr_tools_metric_label(const char *text, const char *name, const char *key,
			   char *buf, size_t cap)
{
	for (const char *line = text; *line != '\0'; line = next_line(line)) {
		const char *end = value_in(line, name);
		const char *label =
			end != NULL ? find_label(line, end, key) : NULL;
		const size_t len = label != NULL ? strcspn(label, "\"\n") : cap;
		if (len >= cap)
			continue;
		memcpy(buf, label, len);
		buf[len] = '\0';
		return true;
	}
	return false;
}
