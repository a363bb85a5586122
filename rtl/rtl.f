rtl/wl_dac.v
rtl/sar_adc.v
rtl/clip_count.v
rtl/column_correct.v
rtl/shift_add.v
rtl/requantize.v
rtl/macro_ctrl.v
rtl/cim_macro.v
