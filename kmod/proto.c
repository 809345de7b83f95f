// SPDX-License-Identifier: GPL-2.0-only
/*
 * proto.c - see proto.h.  Format: Documentation/bpf/btf.rst and uapi/linux/btf.h.  The kernel's
 * own parser is not open to modules, so that what is needed of it stands here: types are laid
 * out one after the other, each with an id by its place, and refer to one another by id.
 */
#include <linux/btf.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/seq_buf.h>
#include <linux/slab.h>

#include "proto.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define BTF_MAX	 (64u << 20)
#define DEPTH	 12 /* of types within types: more is a loop */
#define TEXT_MAX 384

struct types {
	void *data;
	const struct btf_header *h;
	const char *strings;
	const struct btf_type **by_id; /* [0]: void */
	u32 n;
};

/* Bytes that follow a type, or -EINVAL: a kind that is not known here. */
static int type_tail(const struct btf_type *t)
{
	u32 n = BTF_INFO_VLEN(t->info);

	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return sizeof(u32);
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
		return n * sizeof(struct btf_enum64);
	case BTF_KIND_FUNC_PROTO:
		return n * sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * sizeof(struct btf_var_secinfo);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -EINVAL;
	}
}

/* Walk all types: count them, and note where each is once by_id is there.  Count or -EINVAL. */
static int types_walk(struct types *b)
{
	const char *at = (const char *)b->h + b->h->hdr_len + b->h->type_off;
	const char *end = at + b->h->type_len;
	u32 n = 1;

	while (at < end) {
		const struct btf_type *t = (const struct btf_type *)at;
		int tail;

		if (end - at < (ptrdiff_t)sizeof(*t))
			return -EINVAL;
		tail = type_tail(t);
		if (tail < 0 || end - at < (ptrdiff_t)sizeof(*t) + tail)
			return -EINVAL;
		if (b->by_id)
			b->by_id[n] = t;
		at += sizeof(*t) + tail;
		n++;
	}
	return n;
}

static int types_parse(struct types *b, size_t bytes)
{
	const struct btf_header *h = b->data;
	u64 room;
	int n;

	if (bytes < sizeof(*h) || h->magic != BTF_MAGIC || h->hdr_len > bytes || !bytes)
		return -EINVAL;
	room = bytes - h->hdr_len;
	if ((u64)h->type_off + h->type_len > room || (u64)h->str_off + h->str_len > room ||
	    !h->str_len)
		return -EINVAL;
	b->h = h;
	b->strings = (const char *)h + h->hdr_len + h->str_off;
	if (b->strings[h->str_len - 1])
		return -EINVAL;
	n = types_walk(b);
	if (n < 0)
		return n;
	b->by_id = kvcalloc(n, sizeof(*b->by_id), GFP_KERNEL);
	if (!b->by_id)
		return -ENOMEM;
	b->n = n;
	types_walk(b);
	return 0;
}

static int types_read(struct types *b)
{
	struct file *f = filp_open(BTF_PATH, O_RDONLY, 0);
	loff_t size, pos = 0;
	ssize_t got = 0;
	int ret = -EINVAL;

	if (IS_ERR(f))
		return PTR_ERR(f);
	size = i_size_read(file_inode(f));
	if (size <= 0 || size > BTF_MAX)
		goto close;
	ret = -ENOMEM;
	b->data = kvmalloc(size, GFP_KERNEL);
	if (!b->data)
		goto close;
	while (pos < size) {
		got = kernel_read(f, (char *)b->data + pos, size - pos, &pos);
		if (got <= 0)
			break;
	}
	ret = got < 0 ? got : pos < size ? -EIO : types_parse(b, size);
close:
	filp_close(f, NULL);
	return ret;
}

static void types_free(struct types *b)
{
	kvfree(b->by_id);
	kvfree(b->data);
}

static const char *type_name(const struct types *b, const struct btf_type *t)
{
	return t->name_off < b->h->str_len ? b->strings + t->name_off : "?";
}

static void type_print(const struct types *b, u32 id, struct seq_buf *out, int depth);

static void proto_print(const struct types *b, const struct btf_type *t, struct seq_buf *out,
			int depth)
{
	const struct btf_param *p = (const struct btf_param *)(t + 1);
	u32 i, n = BTF_INFO_VLEN(t->info);

	type_print(b, t->type, out, depth);
	seq_buf_puts(out, "(");
	for (i = 0; i < n; i++) {
		if (i)
			seq_buf_puts(out, ",");
		type_print(b, p[i].type, out, depth);
	}
	seq_buf_puts(out, ")");
}

/* Typedefs and qualifiers are looked through: they do not change how a value is passed. */
static void type_print(const struct types *b, u32 id, struct seq_buf *out, int depth)
{
	const struct btf_type *t = id < b->n ? b->by_id[id] : NULL;
	u32 bits;

	if (!id) {
		seq_buf_puts(out, "void");
		return;
	}
	if (!t || depth > DEPTH) {
		seq_buf_puts(out, "?");
		return;
	}
	switch (BTF_INFO_KIND(t->info)) {
	case BTF_KIND_INT:
		/* By size: compilers have several names for one type. */
		bits = *(const u32 *)(t + 1);
		seq_buf_printf(out, "%c%u", BTF_INT_ENCODING(bits) & BTF_INT_SIGNED ? 's' : 'u',
			       BTF_INT_BITS(bits));
		break;
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_CONST:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_TYPE_TAG:
		type_print(b, t->type, out, depth + 1);
		break;
	case BTF_KIND_PTR:
		type_print(b, t->type, out, depth + 1);
		seq_buf_puts(out, "*");
		break;
	case BTF_KIND_FUNC_PROTO:
		proto_print(b, t, out, depth + 1);
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_FWD:
		seq_buf_printf(out, "struct %s", type_name(b, t));
		break;
	case BTF_KIND_UNION:
		seq_buf_printf(out, "union %s", type_name(b, t));
		break;
	case BTF_KIND_ENUM:
		seq_buf_printf(out, "enum %s", type_name(b, t));
		break;
	default:
		seq_buf_puts(out, type_name(b, t));
	}
}

static int one_check(const struct types *b, const struct proto *p, char *text)
{
	const struct btf_type *t;
	struct seq_buf out;
	u32 i;

	for (i = 1; i < b->n; i++) {
		t = b->by_id[i];
		if (BTF_INFO_KIND(t->info) == BTF_KIND_FUNC &&
		    !strcmp(type_name(b, t), p->name))
			break;
	}
	if (i == b->n) {
		pr_err("%s is not described in %s: nothing to compare with\n", p->name,
		       BTF_PATH);
		return -ENOEXEC;
	}
	seq_buf_init(&out, text, TEXT_MAX);
	type_print(b, t->type, &out, 0);
	if (seq_buf_has_overflowed(&out))
		seq_buf_clear(&out);
	text[out.len] = '\0';
	for (i = 0; p->expected[i]; i++)
		if (!strcmp(text, p->expected[i]))
			return 0;
	pr_err("%s is '%s' in this kernel, expected '%s'\n", p->name, text, p->expected[0]);
	return -ENOEXEC;
}

int proto_check(const struct proto *p, unsigned int n)
{
	struct types b = {};
	unsigned int i;
	char *text;
	int ret;

	if (!IS_ENABLED(CONFIG_DEBUG_INFO_BTF)) {
		pr_notice("this kernel has no BTF: prototypes are as its headers had them\n");
		return 0;
	}
	text = kmalloc(TEXT_MAX + 1, GFP_KERNEL);
	if (!text)
		return -ENOMEM;
	ret = types_read(&b);
	if (ret) {
		pr_err("%s cannot be read (%d): prototypes cannot be compared\n", BTF_PATH,
		       ret);
		ret = ret == -ENOMEM ? ret : -ENOEXEC;
	}
	for (i = 0; !ret && i < n; i++)
		ret = one_check(&b, &p[i], text);
	types_free(&b);
	kfree(text);
	return ret;
}
