/*
 * registry_api/h2o_wrap.h - libh2o's headers, behind our warnings.
 *
 * h2o is built for its own event loop (H2O_USE_LIBUV=0); its headers need GNU
 * declarations and are not clean under -Wpedantic and -Wconversion, so they
 * count as system headers.  A .c that includes this one defines _GNU_SOURCE
 * first.
 */
#ifndef KR_REGISTRY_API_H2O_WRAP_H
#define KR_REGISTRY_API_H2O_WRAP_H

#if __INCLUDE_LEVEL__ > 0
#pragma GCC system_header
#endif

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef H2O_USE_LIBUV
#define H2O_USE_LIBUV 0
#endif
#include <h2o.h>
#include <h2o/http1.h>

#endif
