// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - platform devices amux-testdma.0 .. N and their driver.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>

#include "testdma.h"

#define DEVICES_MAX 8

static unsigned int devices = 1;
module_param(devices, uint, 0444);
MODULE_PARM_DESC(devices, "platform devices, 1 to 8");
unsigned int channels = 4;
module_param(channels, uint, 0444);
MODULE_PARM_DESC(channels, "of each device, 1 to 32");
unsigned int depth = 16;
module_param(depth, uint, 0444);
MODULE_PARM_DESC(depth, "descriptors of a channel");
unsigned int desc_ns;
module_param(desc_ns, uint, 0644);
MODULE_PARM_DESC(desc_ns, "model clock: ns of each descriptor");
unsigned int rate_mbps;
module_param(rate_mbps, uint, 0644);
MODULE_PARM_DESC(rate_mbps, "model clock: MB/s of a channel, 0: as fast as it goes");
static int node[DEVICES_MAX] = { [0 ... DEVICES_MAX - 1] = NUMA_NO_NODE };
static int nodes;
module_param_array(node, int, &nodes, 0444);
MODULE_PARM_DESC(node, "NUMA node of each device");

static struct platform_device *pdev[DEVICES_MAX];

static int testdma_probe(struct platform_device *p)
{
	int ret = dma_set_mask_and_coherent(&p->dev, DMA_BIT_MASK(64));

	return ret ?: engine_add(p);
}

static void testdma_remove(struct platform_device *p)
{
	engine_remove(p);
}

static struct platform_driver driver = {
	.probe = testdma_probe,
	.remove = testdma_remove,
	.driver = { .name = "amux-testdma" },
};

static void devices_remove(void)
{
	unsigned int i;

	for (i = 0; i < devices; i++)
		if (pdev[i])
			platform_device_unregister(pdev[i]);
}

static int __init testdma_init(void)
{
	unsigned int i;
	int ret;

	if (!devices || devices > DEVICES_MAX || !channels || channels > CHANNELS_MAX ||
	    !depth) {
		pr_err("devices=%u channels=%u depth=%u: expected 1 to %d, 1 to %d, at least "
		       "1\n",
		       devices, channels, depth, DEVICES_MAX, CHANNELS_MAX);
		return -EINVAL;
	}
	ret = fault_init();
	if (ret)
		return ret;
	ret = platform_driver_register(&driver);
	if (ret)
		goto fault;
	for (i = 0; i < devices; i++) {
		struct platform_device *p = platform_device_alloc("amux-testdma", (int)i);

		ret = -ENOMEM;
		if (!p)
			goto remove;
		set_dev_node(&p->dev, node[i]);
		ret = platform_device_add(p);
		if (ret) {
			platform_device_put(p);
			goto remove;
		}
		pdev[i] = p;
	}
	return 0;

remove:
	devices_remove();
	platform_driver_unregister(&driver);
fault:
	fault_exit();
	return ret;
}

static void __exit testdma_exit(void)
{
	devices_remove();
	platform_driver_unregister(&driver);
	fault_exit();
}

module_init(testdma_init);
module_exit(testdma_exit);
MODULE_DESCRIPTION("A DMA engine made of software, for tests of dmaengine clients");
MODULE_LICENSE("GPL");
