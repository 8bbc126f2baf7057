"""Reads a live page of lanes in Chromium, as a person would: browser.py PAGE TRACE. The test `browser` starts this.

Nothing waits for a time: each step waits for what it is about.
"""

import os
import pathlib
import sys

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait


def until(driver, condition, what):
    # The page renews itself: an element may be of the page before.
    wait = WebDriverWait(driver, 60, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(condition, f"never: {what}")


def names(driver):
    return [a.accessible_name for a in driver.find_elements(By.CSS_SELECTOR, "svg.lanes a")]


def read(driver, page, trace):
    driver.get(pathlib.Path(page).as_uri())
    drawn = until(driver, names, "bars and marks")
    assert all(" by " in name for name in drawn), f"each says what, when and by whom: {drawn}"

    def drawing(driver):
        svg = driver.find_element(By.CSS_SELECTOR, "svg.lanes")
        return svg.aria_role, svg.accessible_name

    role, name = until(driver, drawing, "a drawing")
    assert role == "group" and name == "A title", f"{role}: {name}"

    # What hovering shows is the line itself.
    def line(driver):
        return driver.find_element(By.CSS_SELECTOR, "svg.lanes a.mark title").get_attribute("textContent")

    shown = until(driver, line, "a mark")
    assert '"ev":"start"' in shown, f"the line of the trace: {shown}"

    # The trace grows, and the page shows it by itself.
    with open(trace, "a") as file:
        file.write('{"t":3000,"fn":"replication::replicationUnsetMaster","at":"src/replication.rs:9","ev":"role","to":"master"}\n')
    until(driver, lambda d: any("becomes a master" in name for name in names(d)), "the new mark")

    # A click leads to the function.
    def follow(driver):
        mark = [a for a in driver.find_elements(By.CSS_SELECTOR, "svg.lanes a.mark") if "replicationUnsetMaster" in a.accessible_name]
        mark[0].click()
        return driver.current_url.endswith("/replication.replicationUnsetMaster.html")

    until(driver, follow, "the page of the function")
    assert driver.find_element(By.TAG_NAME, "h1").text == "replicationUnsetMaster"
    said = driver.get_log("browser")
    assert not said, f"the console says: {said}"


def main():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,900"]:
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    try:
        read(driver, *sys.argv[1:3])
    finally:
        driver.quit()


main()
