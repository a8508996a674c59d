"""One cProfile, two threads: who called helper?"""

import cProfile
import pstats
import threading

go, meanwhile, enough, done = (threading.Lock() for _ in range(4))
for lock in (go, meanwhile, enough, done):
    lock.acquire()


def tortoise():
    go.release()
    meanwhile.acquire()  # the hare is at work now
    helper()
    enough.release()
    done.acquire()


def helper():
    pass


def hare():
    go.acquire()
    work()
    done.release()


def work():
    meanwhile.release()
    enough.acquire()


other = threading.Thread(target=hare)
other.start()
profile = cProfile.Profile(builtins=False)
profile.enable()
tortoise()
profile.disable()
other.join()

for function, (_, _, _, _, callers) in pstats.Stats(profile).stats.items():
    if function[2] == "helper":
        print("helper was called by", *(caller[2] for caller in callers))
