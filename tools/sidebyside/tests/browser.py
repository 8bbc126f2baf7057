"""Reads the pages as a person would, in Chromium: browser.py DIR PAGE CALLER CALLEE.

DIR holds the pages, PAGE is one of a C file, in which CALLER calls CALLEE. The tests of browser.rs start this.
"""

import json
import pathlib
import sys

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2]))
from chromium import check_console, chromium, until

# All that is read, and what it stands on, in each section that is near the window.
CONTRAST = """
const channel = (v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const pixel = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const light = (p) => .2126 * channel(p[0]) + .7152 * channel(p[1]) + .0722 * channel(p[2]);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor, p = pixel(colour);
    if (p[3] > 200) return p;
  }
  return [255, 255, 255, 255];
};
const low = {};
for (const e of document.querySelectorAll('.l i, .l a, h2, .loc, .note, .called, .called a, .where b, header.page p, th, td a, .lead, .soft, .change')) {
  if (!e.textContent.trim() || e.getBoundingClientRect().height === 0) continue;
  const a = light(pixel(getComputedStyle(e).color)), b = light(ground(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) low[e.tagName + '.' + e.className + ' in ' + e.parentElement.className] = ratio.toFixed(2);
}
return low;
"""

# Which names of functions take ten keys or more: the slash, the letters, the arrows, Return.
KEYSTROKES = """
const words = (name) => name.replace(/([a-z0-9])([A-Z])/g, '$1 $2').replace(/([a-z])([0-9])/gi, '$1 $2').replace(/([0-9])([a-z])/gi, '$1 $2')
  .replace(/[_.:]+/g, ' ').trim().split(/ +/);
const known = new Map();
const find = (query) => {
  if (!known.has(query)) known.set(query, window.sidebyside.search(query, 7).map((hit) => hit.entry));
  return known.get(query);
};
const far = [];
for (const entry of window.NAMES.filter((e) => e[1] === 'function')) {
  const name = entry[0].toLowerCase(), parts = words(entry[0]).map((w) => w.toLowerCase());
  const first = parts.map((p) => p[0]).join('');
  const tries = [name.slice(0, 6), first.slice(0, 6), name.slice(0, 7), first.slice(0, 7)];
  // The first letters of the words, and more of the last one, of the one before, of the first one; the end of the name.
  for (const more of [parts.at(-1), parts.at(-2) || '']) for (let n = 2; n <= 6; n++) tries.push((first.slice(0, -1) + more.slice(0, n)).slice(0, 7));
  for (let n = 2; n <= 5; n++) tries.push((parts[0].slice(0, n) + first.slice(1)).slice(0, 7));
  for (let n = 2; n <= 5; n++) tries.push((parts[0].slice(0, n) + first.slice(1)).slice(0, 6 - 1) + parts.at(-1).slice(0, 2));
  for (let n = 4; n <= 7; n++) tries.push(name.slice(-n));
  const last = name.lastIndexOf(parts.at(-1));
  tries.push('_' + first.slice(0, 6), name.slice(Math.max(0, last - 4), last + 2), name.slice(Math.max(0, last - 5), last + 1));
  const near = (query) => { const at = find(query).findIndex((e) => e[0] === entry[0]); return at >= 0 && 1 + query.length + at + 1 < 10; };
  if (tries.some(near)) continue;
  // Its beginning, and any letters that set it apart.
  const apart = [];
  for (let n = 3; n <= 4; n++) for (let i = n; i + 3 <= name.length; i++) apart.push(name.slice(0, n) + name.slice(i, i + 3));
  if (!apart.some(near)) far.push(entry[0]);
}
return [window.NAMES.length, far];
"""


def main():
    folder, page, caller, callee = sys.argv[1:5]
    with chromium() as driver:
        Reader(driver, pathlib.Path(folder).resolve(), page, caller, callee).read()


class Reader:
    def __init__(self, driver, folder, page, caller, callee):
        self.driver, self.folder, self.page, self.caller, self.callee = driver, folder, page, caller, callee
        self.passed = 0

    def read(self):
        for step in [self.start_page, self.search, self.keystrokes, self.jump, self.scroll_together, self.follow_a_call, self.mark, self.contrast,
                     self.dark, self.phone, self.differences, self.load]:
            step()
            self.passed += 1
            print(f"{step.__name__.replace('_', ' ')}: as it should be")
        print(f"{self.passed} passed, 0 failed")

    def js(self, script, *args):
        return self.driver.execute_script(script, *args)

    def until(self, script, what, *args):
        until(self.driver, lambda _: self.js(script, *args), what)

    def open(self, page):
        self.driver.get(f"{self.folder.as_uri()}/{page}")
        self.until("return document.readyState === 'complete' && window.sidebyside", f"{page} is loaded")
        check_console(self.driver)

    def keys(self, *keys):
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def start_page(self):
        self.open("index.html")
        row = self.driver.find_element(By.CSS_SELECTOR, f'.files a.to-c[href="{self.page}"]')
        self.js("arguments[0].scrollIntoView({block: 'center'})", row)
        row.click()
        self.until(f"return location.pathname.endsWith('/{self.page}')", "a row leads to its page")
        check_console(self.driver)

    def search(self):
        self.open("index.html")
        self.keys("/", self.caller)
        self.until("return !document.getElementById('found').hidden", "the list of names opens")
        first = self.driver.find_element(By.CSS_SELECTOR, "#found li[aria-selected=true] b").text
        assert first == self.caller, f"{first} before {self.caller}"
        self.keys(Keys.ENTER)
        self.until(f"return location.hash === '#c-{self.caller}' && location.pathname.endsWith('/{self.page}')", "Return leads there")
        self.until("return document.readyState === 'complete' && window.sidebyside", "the page is loaded")
        self.until(f"return window.sidebyside.current() === '{self.caller}'", "the function is under the bar")
        check_console(self.driver)

    def keystrokes(self):
        self.driver.set_script_timeout(600)
        count, far = self.js(KEYSTROKES)
        assert not far, f"ten keys or more to {len(far)} names: {far[:50]}"
        print(f"each function of {count} names is found in less than ten keys")

    def jump(self):
        self.open(self.page)
        names = self.js("return [...document.querySelectorAll('section.fn')].filter((s) => s.querySelector('.at')).map((s) => s.querySelector('h2').textContent)")
        for at in range(3):
            self.keys("j")
            self.until(f"return window.sidebyside.current() === {json.dumps(names[at])}", f"j leads to {names[at]}")
        self.keys("k")
        self.until(f"return window.sidebyside.current() === {json.dumps(names[1])}", f"k leads back to {names[1]}")

    def scroll_together(self):
        self.open(f"{self.page}#c-{self.caller}")
        tops = f"""
            const section = document.getElementById('c-{self.caller}').closest('section');
            const at = (e) => Math.round(e.getBoundingClientRect().top);
            return [...section.querySelectorAll('.r')].map((r) => [at(r.children[0]), at(r.children[1])]).concat([
                [at(section.querySelector('.h .c')), at(section.querySelector('.h .x'))]]);"""
        before = self.js(tops)
        assert len(before) > 2, f"only {len(before)} rows: no blocks are aligned"
        self.js("scrollBy(0, 60)")
        self.until("return scrollY > 0", "it scrolls")
        after = self.js(tops)
        for left, right in before + after:
            assert left == right, f"a block is at {left} on the left and at {right} on the right"
        assert before[0] != after[0], "nothing moved"

    def follow_a_call(self):
        self.open(f"{self.page}#c-{self.caller}")
        for side, column in [("c", "c"), ("r", "x")]:
            self.open(f"{self.page}#c-{self.caller}")
            find = f"return [...document.getElementById('c-{self.caller}').closest('section').querySelectorAll('.p.{column} a.f')].find((a) => a.textContent === '{self.callee}')"
            call = self.js(find)
            assert call, f"no call of {self.callee} on the side {side}"
            self.js("arguments[0].scrollIntoView({block: 'center'})", call)
            ActionChains(self.driver).move_to_element(call).perform()
            self.until("return !document.getElementById('card').hidden", "a card names both sides")
            sides = self.js("return [...document.querySelectorAll('#card a')].map((a) => a.getAttribute('href'))")
            assert len(sides) == 2 and f"#c-{self.callee}" in sides[0] and f"#r-{self.callee}" in sides[1], sides
            call.click()
            self.until(f"return location.hash === '#{side}-{self.callee}'", "a click follows the call on its own side")
            both = self.js(f"const s = document.getElementById('{side}-{self.callee}').closest('section'); return [...s.querySelectorAll('.h h2')].map((h) => h.textContent)")
            assert both == [self.callee, self.callee], f"the partner is beside it: {both}"

    def mark(self):
        self.open(self.page)
        assert self.js("return document.querySelectorAll('.mark').length") > 0, "no // C: mark"
        self.keys("n")
        self.until("const b = document.querySelector('.mark').getBoundingClientRect(); return b.height > 0 && b.top > 0 && b.bottom < innerHeight", "n leads to the mark")

    def contrast(self):
        for page in [self.page, "index.html", "differences.html"]:
            for theme in ["light", "dark"]:
                self.open(page)
                self.js(f"document.documentElement.dataset.theme = '{theme}'")
                low = self.js(CONTRAST)
                assert not low, f"{page}, {theme}: below 4.5 : 1: {low}"

    def dark(self):
        background = "return getComputedStyle(document.body).backgroundColor"
        self.open(self.page)
        light = self.js(background)
        self.keys("d")
        self.until(f"return getComputedStyle(document.body).backgroundColor !== '{light}'", "d makes it dark")
        dark = self.js(background)
        self.open(self.page)
        assert self.js(background) == dark, "the next page is dark, too"
        self.driver.find_element(By.ID, "theme").click()
        self.until(f"return getComputedStyle(document.body).backgroundColor === '{light}'", "the button makes it light")
        self.js("localStorage.clear()")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        self.open(self.page)
        assert self.js(background) == dark, "it is dark where the system is"
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def phone(self):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True})
        for page in ["index.html", "differences.html", f"{self.page}#c-{self.caller}"]:
            self.open(page)
            width = self.js("return document.documentElement.scrollWidth")
            assert width <= 390, f"{page} is {width} wide"
        stacked = self.js(f"""
            const section = document.getElementById('c-{self.caller}').closest('section');
            const boxes = (s) => [...section.querySelectorAll(s)].map((e) => e.getBoundingClientRect()).filter((b) => b.height);
            return Math.max(...boxes('.p.c').map((b) => b.bottom)) <= Math.min(...boxes('.p.x').map((b) => b.top)) + 1""")
        assert stacked, "the C stands above ours"
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def differences(self):
        self.open("differences.html")
        row = self.driver.find_element(By.CSS_SELECTOR, "tr[id^=absent-] td:nth-child(2) a.to-c")
        self.js("arguments[0].scrollIntoView({block: 'center'})", row)
        name = row.text
        row.click()
        self.until("return location.hash.startsWith('#c-')", "a row leads to the C")
        self.until("return document.readyState === 'complete' && window.sidebyside", "the page is loaded")
        note = self.js("return document.getElementById(location.hash.slice(1)).closest('section').querySelector('.note a').getAttribute('href')")
        assert note.startswith("differences.html#absent-"), f"{name} leads back to its row: {note}"

    def load(self):
        # The second time, so that it is the page and not the browser's start that is measured. Told, not asserted.
        largest = max(self.folder.glob("*.html"), key=lambda p: p.stat().st_size)
        for _ in range(2):
            self.open(largest.name)
        times = self.js("const t = performance.getEntriesByType('navigation')[0]; return [t.domContentLoadedEventEnd, t.loadEventEnd].map(Math.round)")
        print(f"{largest.name}, {largest.stat().st_size // 1024} KB: text after {times[0]} ms, all of it after {times[1]} ms")


main()
