/* SPDX-License-Identifier: MIT */
/*
 * bits.h - registers of a DSA by offset and bit, as its specification has them (Intel document
 * 341204), and where this model puts its tables.  Constants only.
 */
#ifndef DSA_MODEL_BITS_H
#define DSA_MODEL_BITS_H

#define BIT64(n) (1ull << (n))

/* BAR 0 */
#define BAR0_BYTES   0x10000u
#define R_VERSION    0x00u
#define R_GENCAP     0x10u
#define R_WQCAP	     0x20u
#define R_GRPCAP     0x30u
#define R_ENGCAP     0x38u
#define R_OPCAP	     0x40u /* 256 bits */
#define R_TABLES     0x60u /* 128 bits */
#define R_GENCFG     0x80u
#define R_GENCTRL    0x88u
#define R_GENSTS     0x90u
#define R_INTCAUSE   0x98u
#define R_CMD	     0xa0u
#define R_CMDSTS     0xa8u
#define R_CMDCAP     0xb0u
#define R_SWERR	     0xc0u /* 256 bits */
#define R_EVLCFG     0xe0u /* 128 bits */
#define R_EVLSTATUS  0xf0u
#define TABLE_UNIT   0x100u
#define T_GRPCFG     0x400u
#define GRPCFG_BYTES 64u
#define T_WQCFG	     0x600u
#define T_MSIX_PERM  0x900u
#define T_MSIX	     0x2000u /* QEMU keeps it */
#define T_PBA	     0x3000u

/* BAR 2: four pages a WQ */
#define PAGE_BYTES     4096u
#define PORTAL_PAGES   4u
#define BAR2_BYTES     0x20000u
#define PORTAL_LIMITED 1u /* of two: odd pages */

/* GENCTRL */
#define GENCTRL_SOFTERR_INT 1u
#define GENCTRL_HALT_INT    2u
#define GENCTRL_EVL_INT	    4u
/* GENCFG */
#define GENCFG_EVL_EN (1u << 13)
/* EVLCFG */
#define EVL_PASID_EN(c) ((c)[0] & 1u)
#define EVL_PRIV(c)	((c)[0] >> 1 & 1u)
#define EVL_BASE(c)	((c)[0] & ~0xfffull)
#define EVL_SIZE(c)	((uint32_t)((c)[1] & 0xffff))
#define EVL_PASID(c)	((uint32_t)((c)[1] >> 16 & 0xfffff))
/* INTCAUSE */
#define CAUSE_SWERR 0x01u
#define CAUSE_CMD   0x02u
#define CAUSE_HALT  0x10u
#define CAUSE_EVL   0x20u
/* CMD */
#define CMD_OPERAND(x)	 ((x)&0xfffffu)
#define CMD_CODE(x)	 ((x) >> 20 & 0x1fu)
#define CMD_INT		 (1u << 31)
#define CMDSTS_ACTIVE	 (1u << 31)
#define CMDSTS_RESULT(x) ((uint32_t)(x) << 8)

enum command {
	C_ENABLE_DEVICE = 1,
	C_DISABLE_DEVICE,
	C_DRAIN_ALL,
	C_ABORT_ALL,
	C_RESET_DEVICE,
	C_ENABLE_WQ,
	C_DISABLE_WQ,
	C_DRAIN_WQ,
	C_ABORT_WQ,
	C_RESET_WQ,
	C_DRAIN_PASID,
	C_ABORT_PASID,
	C_REQUEST_HANDLE,
	C_RELEASE_HANDLE,
};

enum command_error {
	E_NONE = 0x00,
	E_COMMAND = 0x01,
	E_WQ_INDEX = 0x02,
	E_DEVICE_ENABLED = 0x10,
	E_BUS_MASTER = 0x12,
	E_WQ_SIZE_SUM = 0x14,
	E_GROUP_WQ_TWICE = 0x15,
	E_GROUP_ENGINE_TWICE = 0x16,
	E_GROUP_NO_ENGINE = 0x17,
	E_GROUP_NO_WQ = 0x18,
	E_DEVICE_DISABLED = 0x20,
	E_WQ_ENABLED = 0x21,
	E_WQ_SIZE = 0x22,
	E_WQ_PRIORITY = 0x23,
	E_WQ_MODE = 0x24,
	E_WQ_PASID = 0x26,
	E_WQ_BATCH = 0x27,
	E_WQ_XFER = 0x28,
	E_DISABLE_DISABLED = 0x31,
	E_NOT_ENABLED = 0x32,
	E_HANDLE_INDEX = 0x41,
	E_NO_HANDLE = 0x42,
};

/* WQCFG */
#define WQ_SIZE(c)	  ((c)[0] & 0xffffu)
#define WQ_THRESHOLD(c)	  ((c)[1] & 0xffffu)
#define WQ_DEDICATED(c)	  ((c)[2] & 1u)
#define WQ_PRIORITY(c)	  ((c)[2] >> 4 & 0xfu)
#define WQ_PASID(c)	  ((c)[2] >> 8 & 0xfffffu)
#define WQ_PASID_EN(c)	  ((c)[2] >> 28 & 1u)
#define WQ_PRIV(c)	  ((c)[2] >> 29 & 1u)
#define WQ_XFER_SHIFT(c)  ((c)[3] & 0x1fu)
#define WQ_BATCH_SHIFT(c) ((c)[3] >> 5 & 0xfu)
#define WQ_STATE_DWORD	  6u
#define WQ_STATE_ENABLED  (1u << 30)
#define WQ_MODE_SUPPORT	  (1u << 29)

/* Operations and statuses that the kernel's header does not have */
#define OPCODE_TRANSL_FETCH 0x0au
#define OPCODE_DIX_GEN	    0x17u
#define COMP_BATCH_EVL_ERR  0x27u

#define XFER_SHIFT_MAX	31u
#define BATCH_SHIFT_MAX 10u

#endif /* DSA_MODEL_BITS_H */
