// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold.c - see hold.h.
 */
#include <linux/dmaengine.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>

#include "channel_set.h"
#include "hold.h"
#include "idxd.h"

#define RELEASE_MS 5000 /* for what is in flight, before it goes into quarantine */

static DEFINE_MUTEX(control);

/*
 * Drivers between the notice that they leave a device and their leaving: under control.  @dev is
 * what they leave, @hw the device whose channels go with it: itself, or for a WQ of idxd, which
 * is a device of its own, the one that it belongs to.
 */
#define LEAVING_MAX 16
static struct leaving {
	const struct device *dev, *hw;
} leaving[LEAVING_MAX];

static int bus_event(struct notifier_block *nb, unsigned long event, void *arg);
static struct notifier_block pci_events = { .notifier_call = bus_event };
static struct notifier_block platform_events = { .notifier_call = bus_event };
static struct notifier_block dsa_events = { .notifier_call = bus_event };

static bool is_leaving(const struct device *hw)
{
	unsigned int i;

	for (i = 0; i < LEAVING_MAX; i++)
		if (leaving[i].hw == hw)
			return true;
	return false;
}

static struct leaving *leaving_find(const struct device *dev)
{
	unsigned int i;

	for (i = 0; i < LEAVING_MAX; i++)
		if (leaving[i].dev == dev)
			return &leaving[i];
	return NULL;
}

/* The device whose channels go when the driver of @dev does; NULL: none. */
static const struct device *hardware_of(const struct device *dev)
{
	return idxd_on_bus(dev) ? idxd_hardware(dev) : dev;
}

static u32 pci_id_of(struct device *dev)
{
	struct pci_dev *pci;

	if (!dev_is_pci(dev))
		return 0;
	pci = to_pci_dev(dev);
	return (u32)pci_domain_nr(pci->bus) << 16 | (u32)pci->bus->number << 8 | pci->devfn;
}

static bool channel_wanted(struct dma_chan *chan, void *arg)
{
	const struct amux_acquire *a = arg;
	struct device *dev = chan->device->dev;

	/* Removal is heard of on these alone: others could not be given back in time. */
	return (dev->bus == &pci_bus_type || dev->bus == &platform_bus_type) &&
	       !is_leaving(dev) && idxd_usable(chan) &&
	       (a->node < 0 || dev_to_node(dev) == a->node) &&
	       (!a->pci_id || pci_id_of(dev) == a->pci_id) &&
	       (!a->name[0] || !strcmp(a->name, dev_name(dev)));
}

int hold_acquire(struct amux_acquire *a)
{
	struct set *s = &channel_sets[a->dev];
	struct dma_chan *chan;
	struct channel *c;
	dma_cap_mask_t mask;
	int ret = 0;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	mutex_lock(&control);
	idxd_listen(&dsa_events);
	idxd_forget(false);
	while (s->n < a->max_channels) {
		chan = dma_request_channel(mask, channel_wanted, a);
		if (!chan)
			break;
		c = channel_new(chan, a->dev, s->n);
		if (!c) {
			dma_release_channel(chan);
			ret = -ENOMEM;
			break;
		}
		percpu_down_write(&channel_table);
		list_add_tail(&c->list, &all_channels);
		s->channel[s->n++] = c;
		percpu_up_write(&channel_table);
	}
	a->n_channels = s->n;
	mutex_unlock(&control);
	return s->n ? 0 : ret ?: -ENODEV;
}

/* Give @c back, under control and out of its set. */
static void channel_close(struct channel *c)
{
	unsigned long end = jiffies + msecs_to_jiffies(RELEASE_MS);
	struct dma_device *d = c->chan->device;
	bool quiet = false;

	while (READ_ONCE(c->flying) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(1);
	channel_quarantine(c);
	/*
	 * Only a driver that waits for its hardware proves anything by terminating, and only
	 * where there is something to prove: see idxd.h.
	 */
	if (READ_ONCE(c->quarantined) && d->device_terminate_all && d->device_synchronize) {
		quiet = !dmaengine_terminate_sync(c->chan);
		idxd_terminated(c->chan);
	}
	dma_release_channel(c->chan);
	channel_closed(c, quiet);
}

/* Give back the channels of index @dev, or those of them on device @gone.  Under control. */
static void channels_release(u32 dev, const struct device *gone)
{
	struct channel *out[CHANNELS_MAX];
	struct set *s = &channel_sets[dev];
	u32 i, kept = 0, n = 0;

	percpu_down_write(&channel_table);
	for (i = 0; i < s->n; i++) {
		struct channel *c = s->channel[i];

		if (gone && c->dev != gone) {
			s->channel[kept++] = c;
			continue;
		}
		c->closing = true;
		out[n++] = c;
	}
	s->n = kept;
	percpu_up_write(&channel_table);
	for (i = 0; i < n; i++)
		channel_close(out[i]);
}

int hold_release(u32 dev)
{
	u32 i;

	mutex_lock(&control);
	for (i = 0; i < AMUX_GRANT_DEVS; i++)
		if (dev == AMUX_DEV_ALL || dev == i)
			channels_release(i, NULL);
	mutex_unlock(&control);
	return 0;
}

/*
 * The driver is gone from @hw, or only (@part) from a WQ of it: whatever was in flight there has
 * ended.  A WQ's channel is one that is not registered any more.
 */
static void device_proved(const struct device *hw, bool part)
{
	struct channel *c;

	percpu_down_read(&channel_table);
	list_for_each_entry(c, &all_channels, list)
		if (c->dev == hw && !c->chan && !(part && device_is_registered(c->name)))
			channel_proved(c);
	percpu_up_read(&channel_table);
}

/* A device that we hold channels of is about to lose its driver, or has lost it. */
static int bus_event(struct notifier_block *nb, unsigned long event, void *arg)
{
	struct device *dev = arg;
	const struct device *hw;
	struct leaving *l;
	u32 i;

	if (event != BUS_NOTIFY_UNBIND_DRIVER && event != BUS_NOTIFY_UNBOUND_DRIVER)
		return NOTIFY_DONE;
	mutex_lock(&control);
	if (event == BUS_NOTIFY_UNBIND_DRIVER) {
		hw = hardware_of(dev);
		/* Nobody may acquire what is given back here: the driver would warn, and leave.
		 */
		l = hw ? leaving_find(NULL) : NULL;
		if (l)
			*l = (struct leaving){ dev, hw };
		for (i = 0; hw && i < AMUX_GRANT_DEVS; i++)
			channels_release(i, hw);
	} else {
		l = leaving_find(dev);
		hw = l ? l->hw : idxd_on_bus(dev) ? NULL : dev;
		if (hw)
			device_proved(hw, hw != dev && hw != dev->parent);
		if (l)
			*l = (struct leaving){};
	}
	mutex_unlock(&control);
	return NOTIFY_OK;
}

int hold_info(struct amux_info *info)
{
	struct set *s = &channel_sets[info->dev];
	struct channel *c;

	info->node = NUMA_NO_NODE;
	mutex_lock(&control);
	info->n_channels = s->n;
	if (s->n) {
		c = s->channel[0];
		info->node = dev_to_node(c->dev);
		info->pci_id = pci_id_of(c->dev);
		strscpy(info->name, dev_name(c->dev), sizeof(info->name));
	}
	list_for_each_entry(c, &all_channels, list)
		if (c->index == info->dev)
			info->quarantined += c->quarantined;
	mutex_unlock(&control);
	return 0;
}

int hold_init(void)
{
	int ret = bus_register_notifier(&pci_bus_type, &pci_events);

	if (ret)
		return ret;
	ret = bus_register_notifier(&platform_bus_type, &platform_events);
	if (ret)
		bus_unregister_notifier(&pci_bus_type, &pci_events);
	return ret;
}

void hold_exit(void)
{
	hold_release(AMUX_DEV_ALL);
	idxd_forget(true);
	idxd_unlisten(&dsa_events);
	bus_unregister_notifier(&platform_bus_type, &platform_events);
	bus_unregister_notifier(&pci_bus_type, &pci_events);
}
