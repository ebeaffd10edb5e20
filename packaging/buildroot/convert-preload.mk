# SPDX-License-Identifier: MIT
################################################################################
#
# convert-preload
#
################################################################################

# In a BR2_EXTERNAL tree as package/convert-preload; CONVERT_PRELOAD_OVERRIDE_SRCDIR takes a checkout. uthash, which
# Buildroot does not have, is in uthash/ beside it, to be package/uthash there.
CONVERT_PRELOAD_VERSION = 0.1
CONVERT_PRELOAD_SITE = $(call qstrip,$(CONVERT_PRELOAD_URL))
CONVERT_PRELOAD_LICENSE = MIT
CONVERT_PRELOAD_LICENSE_FILES = LICENSE

CONVERT_PRELOAD_MAKE = $(TARGET_MAKE_ENV) $(MAKE) $(TARGET_CONFIGURE_OPTS) -C $(@D) \
	PREFIX=/usr DEPS=no EXAMPLE=

ifeq ($(BR2_PACKAGE_CONVERT_PRELOAD_CLIENT),y)
CONVERT_PRELOAD_DEPENDENCIES += jansson libcurl ncurses uthash
CONVERT_PRELOAD_WHAT = lib helper
CONVERT_PRELOAD_INSTALL = install
else
CONVERT_PRELOAD_WHAT = lib
CONVERT_PRELOAD_INSTALL = install-lib
endif

define CONVERT_PRELOAD_BUILD_CMDS
	$(CONVERT_PRELOAD_MAKE) $(CONVERT_PRELOAD_WHAT)
endef

define CONVERT_PRELOAD_INSTALL_TARGET_CMDS
	$(CONVERT_PRELOAD_MAKE) DESTDIR="$(TARGET_DIR)" $(CONVERT_PRELOAD_INSTALL)
endef

$(eval $(generic-package))
