// SPDX-License-Identifier: GPL-2.0-only
/*
 * amux_movdir.c - MOVDIR64B, ENQCMD and ENQCMDS for a CPU that has none of them.
 *
 * Of the lab alone, never to be used on a real machine.  QEMU's TCG knows none of these
 * instructions, and idxd submits by nothing else: a die notifier emulates them as eight writes
 * of eight bytes.  The device model (tests/lab/dsa-model) puts those together again, and what
 * became of an ENQCMD it tells to whoever reads the portal; one lock for the whole machine
 * keeps both from being mixed up.
 *
 * In the kernel alone: what user space does is not handled.
 */
#include <linux/io.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/trapnr.h>

#define WORDS	 8
#define CODE_MAX 15

static bool set_cap;
module_param(set_cap, bool, 0444);
MODULE_PARM_DESC(
	set_cap,
	"claim MOVDIR64B, without which idxd does not load (kernels without setcpuid=)");

static DEFINE_RAW_SPINLOCK(portal);
static atomic_long_t emulated;

struct decoded {
	u64 dst;	/* what the register operand holds */
	u64 src;	/* address of the memory operand */
	bool nonposted; /* ENQCMDS: Z is Retry */
	unsigned int length;
};

static unsigned long reg_get(const struct pt_regs *regs, unsigned int n)
{
	static const unsigned int offset[16] = {
		offsetof(struct pt_regs, ax),  offsetof(struct pt_regs, cx),
		offsetof(struct pt_regs, dx),  offsetof(struct pt_regs, bx),
		offsetof(struct pt_regs, sp),  offsetof(struct pt_regs, bp),
		offsetof(struct pt_regs, si),  offsetof(struct pt_regs, di),
		offsetof(struct pt_regs, r8),  offsetof(struct pt_regs, r9),
		offsetof(struct pt_regs, r10), offsetof(struct pt_regs, r11),
		offsetof(struct pt_regs, r12), offsetof(struct pt_regs, r13),
		offsetof(struct pt_regs, r14), offsetof(struct pt_regs, r15),
	};

	return *(const unsigned long *)((const char *)regs + offset[n & 15]);
}

static s64 displacement(const u8 *p, unsigned int bytes)
{
	s32 wide;

	if (bytes == 1)
		return (s8)p[0];
	memcpy(&wide, p, sizeof(wide));
	return wide;
}

/* The memory operand behind ModRM; returns bytes used, 0: none. */
static unsigned int operand(const struct pt_regs *regs, const u8 *p, u8 rex, u64 *addr,
			    bool *relative)
{
	unsigned int mod = p[0] >> 6, rm = p[0] & 7, n = 1, bytes = 0;
	bool base = true;
	u64 sum = 0;

	*relative = false;
	if (mod == 3)
		return 0;
	if (rm == 4) {
		u8 sib = p[n++];
		unsigned int index = (sib >> 3 & 7) | (rex & 2) << 2;

		if (index != 4)
			sum += reg_get(regs, index) << (sib >> 6);
		rm = sib & 7;
		if (rm == 5 && !mod) {
			base = false;
			bytes = 4;
		}
	} else if (rm == 5 && !mod) {
		base = false;
		*relative = true;
		bytes = 4;
	}
	if (base)
		sum += reg_get(regs, rm | (rex & 1) << 3);
	if (mod == 1)
		bytes = 1;
	else if (mod == 2)
		bytes = 4;
	if (bytes)
		sum += displacement(p + n, bytes);
	*addr = sum;
	return n + bytes;
}

/* 66 (MOVDIR64B) or f3 (ENQCMDS), perhaps REX, 0f 38 f8 /r */
static bool decode(const struct pt_regs *regs, const u8 *code, struct decoded *out)
{
	unsigned int at = 0, used;
	bool relative;
	u8 rex = 0;

	if (code[at] != 0x66 && code[at] != 0xf3)
		return false;
	out->nonposted = code[at++] == 0xf3;
	if ((code[at] & 0xf0) == 0x40)
		rex = code[at++];
	if (code[at] != 0x0f || code[at + 1] != 0x38 || code[at + 2] != 0xf8)
		return false;
	at += 3;
	used = operand(regs, code + at, rex, &out->src, &relative);
	if (!used)
		return false;
	out->dst = reg_get(regs, (code[at] >> 3 & 7) | (rex & 4) << 1);
	out->length = at + used;
	if (relative)
		out->src += regs->ip + out->length;
	return true;
}

static bool emulate(struct pt_regs *regs)
{
	u8 code[CODE_MAX] = { 0 };
	struct decoded d;
	u64 data[WORDS], retry = 0;
	u64 __iomem *to;
	unsigned long flags;
	unsigned int i;

	if (copy_from_kernel_nofault(code, (void *)regs->ip, sizeof(code)) ||
	    !decode(regs, code, &d) ||
	    copy_from_kernel_nofault(data, (void *)(unsigned long)d.src, sizeof(data)))
		return false;
	to = (u64 __iomem *)(unsigned long)d.dst;
	raw_spin_lock_irqsave(&portal, flags);
	for (i = 0; i < WORDS; i++)
		__raw_writeq(data[i], to + i);
	if (d.nonposted)
		retry = __raw_readq(to) & 1;
	raw_spin_unlock_irqrestore(&portal, flags);
	if (d.nonposted) {
		regs->flags &= ~(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |
				 X86_EFLAGS_SF | X86_EFLAGS_OF);
		regs->flags |= retry ? X86_EFLAGS_ZF : 0;
	}
	regs->ip += d.length;
	atomic_long_inc(&emulated);
	return true;
}

static int undefined(struct notifier_block *nb, unsigned long event, void *arg)
{
	struct die_args *die = arg;

	if (event != DIE_TRAP || die->trapnr != X86_TRAP_UD || user_mode(die->regs) ||
	    !emulate(die->regs))
		return NOTIFY_DONE;
	return NOTIFY_STOP;
}

static struct notifier_block undefined_opcodes = { .notifier_call = undefined,
						   .priority = INT_MAX };

static int __init movdir_init(void)
{
	if (!boot_cpu_has(X86_FEATURE_HYPERVISOR)) {
		pr_err("this is not a virtual machine\n");
		return -ENODEV;
	}
	if (set_cap)
		set_cpu_cap(&boot_cpu_data, X86_FEATURE_MOVDIR64B);
	return register_die_notifier(&undefined_opcodes);
}

static void __exit movdir_exit(void)
{
	unregister_die_notifier(&undefined_opcodes);
	pr_info("%ld instructions emulated\n", atomic_long_read(&emulated));
}

module_init(movdir_init);
module_exit(movdir_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("MOVDIR64B for the accelmux test lab; of no use elsewhere");
