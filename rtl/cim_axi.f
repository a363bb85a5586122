rtl/regs/cim_axi_regs.sv
rtl/cim_axi.v
