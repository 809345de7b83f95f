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
 * In the kernel and in user space: there ENQCMD (the PASID is the process's) and MOVDIR64B, with
 * what they read brought in first, which may sleep.  The portal must be mapped at once, as idxd
 * does it.
 */
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/ptrace.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/trapnr.h>

#define WORDS	  8
#define CODE_MAX  15
#define PASID_MAX 0xfffffu

static bool set_cap;
module_param(set_cap, bool, 0444);
MODULE_PARM_DESC(
	set_cap,
	"claim MOVDIR64B, without which idxd does not load (kernels without setcpuid=)");

static DEFINE_RAW_SPINLOCK(portal);
static atomic_long_t emulated;

struct decoded {
	u64 dst;   /* what the register operand holds */
	u64 src;   /* address of the memory operand */
	u8 prefix; /* which instruction */
	unsigned int length;
};

enum { MOVDIR64B = 0x66, ENQCMD = 0xf2, ENQCMDS = 0xf3 };

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

/* The prefix, perhaps REX, 0f 38 f8 /r */
static bool decode(const struct pt_regs *regs, const u8 *code, struct decoded *out)
{
	unsigned int at = 0, used;
	bool relative;
	u8 rex = 0;

	out->prefix = code[at++];
	if (out->prefix != MOVDIR64B && out->prefix != ENQCMD && out->prefix != ENQCMDS)
		return false;
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

/* What the instruction is and reads. */
static bool fetch_kernel(const struct pt_regs *regs, struct decoded *d, u64 *data)
{
	u8 code[CODE_MAX] = { 0 };

	return !copy_from_kernel_nofault(code, (void *)regs->ip, sizeof(code)) &&
	       decode(regs, code, d) && d->prefix != ENQCMD &&
	       !copy_from_kernel_nofault(data, (void *)(unsigned long)d->src,
					 WORDS * sizeof(*data));
}

/*
 * The same of a program, whose pages may have to be brought in.  The trap came from user mode:
 * interrupts may be on, and the chain of notifiers, which is held by RCU, changes with this
 * module alone.
 */
static bool fetch_user(const struct pt_regs *regs, struct decoded *d, u64 *data)
	__must_hold(RCU)
{
	u8 code[CODE_MAX] = { 0 };
	unsigned long missing;
	bool good;

	rcu_read_unlock();
	local_irq_enable();
	/* The last instruction of a mapping ends before CODE_MAX bytes do. */
	missing = copy_from_user(code, (void __user *)regs->ip, sizeof(code));
	good = missing < sizeof(code) && decode(regs, code, d) &&
	       d->length <= sizeof(code) - missing && d->prefix != ENQCMDS &&
	       !copy_from_user(data, (void __user *)(unsigned long)d->src,
			       WORDS * sizeof(*data));
	local_irq_disable();
	rcu_read_lock();
	if (good && d->prefix == ENQCMD) {
		u32 pasid = mm_get_enqcmd_pasid(current->mm);

		/* The first dword is not the program's: PASID, and no privilege. */
		good = pasid <= PASID_MAX;
		data[0] = (data[0] & ~(u64)U32_MAX) | pasid;
	}
	return good;
}

/* Locked: write @data, read what became of it if it is asked for. */
static bool portal_write(u64 dst, const u64 *data, u64 *retry)
{
	u64 __iomem *to = (u64 __iomem *)(unsigned long)dst;
	unsigned int i;

	for (i = 0; i < WORDS; i++)
		__raw_writeq(data[i], to + i);
	if (retry)
		*retry = __raw_readq(to);
	return true;
}

static bool portal_write_user(u64 dst, const u64 *data, u64 *retry)
{
	u64 __user *to = (u64 __user *)(unsigned long)dst;
	unsigned int i;
	int bad;

	if (!access_ok(to, WORDS * sizeof(*to)))
		return false;
	pagefault_disable();
	bad = 0;
	for (i = 0; i < WORDS && !bad; i++)
		bad = __put_user(data[i], to + i);
	if (retry && !bad)
		bad = __get_user(*retry, to);
	pagefault_enable();
	return !bad;
}

static bool emulate(struct pt_regs *regs)
{
	bool user = user_mode(regs), good;
	u64 data[WORDS], retry = 0, *answer;
	struct decoded d;
	unsigned long flags;

	if (!(user ? fetch_user(regs, &d, data) : fetch_kernel(regs, &d, data)))
		return false;
	answer = d.prefix == MOVDIR64B ? NULL : &retry;
	raw_spin_lock_irqsave(&portal, flags);
	good = user ? portal_write_user(d.dst, data, answer)
		    : portal_write(d.dst, data, answer);
	raw_spin_unlock_irqrestore(&portal, flags);
	if (!good)
		return false;
	if (answer) {
		regs->flags &= ~(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |
				 X86_EFLAGS_SF | X86_EFLAGS_OF);
		regs->flags |= retry & 1 ? X86_EFLAGS_ZF : 0;
	}
	regs->ip += d.length;
	atomic_long_inc(&emulated);
	return true;
}

static int undefined(struct notifier_block *nb, unsigned long event, void *arg)
{
	struct die_args *die = arg;

	if (event != DIE_TRAP || die->trapnr != X86_TRAP_UD || !emulate(die->regs))
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
