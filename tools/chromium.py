"""Debian's Chromium, for the tests that read pages in it as a person would: tools/lanes/tests/browser.py, tools/sidebyside/tests/browser.py.

Nothing waits for a time: each step waits for what it is about.
"""

import contextlib
import os

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait


@contextlib.contextmanager
def chromium():
    """Starts Chromium without a window, and gives its driver; the end of the block ends both."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--force-device-scale-factor=1", "--window-size=1400,900"]:
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    try:
        yield driver
    finally:
        driver.quit()


def until(driver, condition, what):
    """Waits for what `condition` returns of the driver to be true, and returns it."""
    # A page may renew itself: an element may be of the page before.
    wait = WebDriverWait(driver, 60, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(condition, f"never: {what}")


def check_console(driver):
    """Fails if the page has complained."""
    said = driver.get_log("browser")
    assert not said, f"the console says: {said}"
