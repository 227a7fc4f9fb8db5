/*
 * core/list.h - doubly linked list whose links live in its elements.
 *
 * PURE.  The list owns nothing.  An element is in one list per link at most; a
 * link is initialised before kr_list_del or kr_list_empty is called on it, and
 * deleting an element that is in no list is harmless.
 *
 *	struct job { struct kr_list link; ... };
 *
 *	kr_list_for_each (it, &jobs) {
 *		struct job *j = KR_CONTAINER_OF(it, struct job, link);
 */
#ifndef KR_CORE_LIST_H
#define KR_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct kr_list {
	struct kr_list *next, *prev;
};

#define KR_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void kr_list_init(struct kr_list *l)
{
	l->next = l->prev = l;
}

/* Is the list (or: is this element in no list)? */
static inline bool kr_list_empty(const struct kr_list *l)
{
	return l->next == l;
}

static inline void kr_list_insert_(struct kr_list *prev, struct kr_list *elem,
				   struct kr_list *next)
{
	elem->prev = prev;
	elem->next = next;
	prev->next = elem;
	next->prev = elem;
}

static inline void kr_list_add_head(struct kr_list *l, struct kr_list *elem)
{
	kr_list_insert_(l, elem, l->next);
}

static inline void kr_list_add_tail(struct kr_list *l, struct kr_list *elem)
{
	kr_list_insert_(l->prev, elem, l);
}

/* Take @elem out of its list; it is in none afterwards. */
static inline void kr_list_del(struct kr_list *elem)
{
	elem->prev->next = elem->next;
	elem->next->prev = elem->prev;
	kr_list_init(elem);
}

/* The first link, or NULL of an empty list. */
static inline struct kr_list *kr_list_first(const struct kr_list *l)
{
	return l->next == l ? NULL : l->next;
}

/* Walk; the list must not change. */
#define kr_list_for_each(it, list) \
	for (struct kr_list *it = (list)->next; it != (list); it = it->next)

/* Walk; @it itself may be deleted on the way. */
#define kr_list_for_each_safe(it, list)                                \
	for (struct kr_list *it = (list)->next, *it##_next = it->next; \
	     it != (list); it = it##_next, it##_next = it->next)

#endif
