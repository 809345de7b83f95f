// SPDX-License-Identifier: GPL-2.0-only
/*
 * cdev.c - see cdev.h.  Nothing that the opener does or leaves undone can hold up a migration:
 * it only changes what is granted.
 */
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>

#include "cdev.h"
#include "grant.h"
#include "hold.h"

static atomic_t taken = ATOMIC_INIT(0);
static DEFINE_MUTEX(lock); /* over an opener's ioctls: they may come from several threads */
static bool greeted;

static int cdev_open(struct inode *inode, struct file *file)
{
	int ret;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (atomic_cmpxchg(&taken, 0, 1))
		return -EBUSY;
	ret = grant_open();
	if (ret)
		atomic_set(&taken, 0);
	return ret;
}

static int cdev_release(struct inode *inode, struct file *file)
{
	grant_detach();
	greeted = false;
	atomic_set_release(&taken, 0); /* pairs with the cmpxchg in cdev_open() */
	return 0;
}

static int ioctl_hello(void __user *arg)
{
	struct amux_hello h;

	if (copy_from_user(&h, arg, sizeof(h)))
		return -EFAULT;
	if (memchr_inv(h.rsvd, 0, sizeof(h.rsvd)))
		return -EINVAL;
	if (h.version != AMUX_GRANT_VERSION)
		return -EPROTONOSUPPORT;
	h.map_bytes = AMUX_GRANT_MAP_BYTES;
	h.n_devs = AMUX_GRANT_DEVS;
	h.page_bytes = PAGE_SIZE;
	greeted = true;
	return copy_to_user(arg, &h, sizeof(h)) ? -EFAULT : 0;
}

static int ioctl_acquire(void __user *arg)
{
	struct amux_acquire a;
	int ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (a.dev >= AMUX_GRANT_DEVS || a.node < -1 || !a.max_channels || a.max_channels > 32 ||
	    memchr_inv(a.rsvd, 0, sizeof(a.rsvd)) || !memchr(a.name, 0, sizeof(a.name)))
		return -EINVAL;
	ret = hold_acquire(&a);
	return ret ?: copy_to_user(arg, &a, sizeof(a)) ? -EFAULT : 0;
}

static int ioctl_release(void __user *arg)
{
	struct amux_release r;

	if (copy_from_user(&r, arg, sizeof(r)))
		return -EFAULT;
	if ((r.dev >= AMUX_GRANT_DEVS && r.dev != AMUX_DEV_ALL) ||
	    memchr_inv(r.rsvd, 0, sizeof(r.rsvd)))
		return -EINVAL;
	return hold_release(r.dev);
}

static int ioctl_info(void __user *arg)
{
	struct amux_info info, out = {};
	int ret;

	if (copy_from_user(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.dev >= AMUX_GRANT_DEVS || memchr_inv(info.rsvd, 0, sizeof(info.rsvd)))
		return -EINVAL;
	out.dev = info.dev;
	ret = hold_info(&out);
	return ret ?: copy_to_user(arg, &out, sizeof(out)) ? -EFAULT : 0;
}

static long cdev_ioctl(struct file *file, unsigned int cmd, unsigned long argument)
{
	void __user *arg = (void __user *)argument;
	long ret;

	mutex_lock(&lock);
	if (cmd == AMUX_IOC_HELLO)
		ret = ioctl_hello(arg);
	else if (!greeted)
		ret = -ENOTCONN;
	else if (cmd == AMUX_IOC_ACQUIRE)
		ret = ioctl_acquire(arg);
	else if (cmd == AMUX_IOC_ATTACH)
		ret = grant_attach();
	else if (cmd == AMUX_IOC_RELEASE)
		ret = ioctl_release(arg);
	else if (cmd == AMUX_IOC_INFO)
		ret = ioctl_info(arg);
	else
		ret = -ENOTTY;
	mutex_unlock(&lock);
	return ret;
}

static int cdev_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start != PAGE_SIZE || vma->vm_pgoff > 1 ||
	    !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff == 1) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	return vm_insert_page(vma, vma->vm_start, grant_page(vma->vm_pgoff));
}

static const struct file_operations cdev_fops = {
	.owner = THIS_MODULE,
	.open = cdev_open,
	.release = cdev_release,
	.unlocked_ioctl = cdev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = cdev_mmap,
};

static struct miscdevice cdev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = AMUX_DEVICE_NAME,
	.fops = &cdev_fops,
	.mode = 0600,
};

int cdev_start(void)
{
	return misc_register(&cdev);
}

void cdev_stop(void)
{
	misc_deregister(&cdev);
}
