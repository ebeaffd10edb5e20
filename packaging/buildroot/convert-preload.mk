# SPDX-License-Identifier: MIT
################################################################################
#
# convert-preload
#
################################################################################

# In a BR2_EXTERNAL tree as package/convert-preload; CONVERT_PRELOAD_OVERRIDE_SRCDIR takes a checkout.
CONVERT_PRELOAD_VERSION = 0.1
CONVERT_PRELOAD_SITE = $(call qstrip,$(CONVERT_PRELOAD_URL))
CONVERT_PRELOAD_LICENSE = MIT
CONVERT_PRELOAD_LICENSE_FILES = LICENSE

# Built into the library: nothing but libc may come with it into other people's processes.
CONVERT_PRELOAD_EXTRA_DOWNLOADS = \
	https://deb.debian.org/debian/pool/main/libi/libinih/libinih_55.orig.tar.gz
CONVERT_PRELOAD_INIH ?= $(@D)/inih-r55/ini.c

define CONVERT_PRELOAD_EXTRACT_INIH
	$(TAR) -C $(@D) -xzf $(CONVERT_PRELOAD_DL_DIR)/libinih_55.orig.tar.gz
endef
CONVERT_PRELOAD_POST_EXTRACT_HOOKS += CONVERT_PRELOAD_EXTRACT_INIH
CONVERT_PRELOAD_POST_RSYNC_HOOKS += CONVERT_PRELOAD_EXTRACT_INIH

CONVERT_PRELOAD_MAKE = $(TARGET_MAKE_ENV) $(MAKE) $(TARGET_CONFIGURE_OPTS) -C $(@D) \
	PREFIX=/usr INIH="$(CONVERT_PRELOAD_INIH)" DEPS=no EXAMPLE=

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
