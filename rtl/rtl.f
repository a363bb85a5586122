rtl/wl_dac.v
rtl/sar_adc.v
rtl/residual.v
rtl/shift_add.v
rtl/requantize.v
rtl/round_check.v
rtl/macro_ctrl.v
rtl/cim_macro.v
