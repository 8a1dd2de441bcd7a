"""What a submitted task gives back, and what it is good for."""

from flowcluster import flow, task


@task
def say_hello(name):
    return f"Hello {name}!"


@task
def say_nice_to_meet_you(greeting):
    return f"{greeting} Nice to meet you :)"


@task
def print_result(result):
    print(type(result))
    print(result)


@task
def fail():
    raise ValueError("no such floor")


@flow
def type_of_future():
    future = say_hello.submit("Marvin")
    print(f"variable 'future' is type {type(future)}")


@flow(name="hello-flow")
def future_as_argument():
    # The second task waits for the first and gets the value, not the future.
    future = say_hello.submit("Marvin")
    print_result.submit(future)


@flow
def result_of_future():
    hello = say_hello.submit("Marvin").result()
    print(say_nice_to_meet_you.submit(hello).result())


@flow
def failed_future():
    future = fail.submit()
    result = future.result(raise_on_failure=False)
    if future.get_state().is_failed():
        print(f"failed: {result!r}")
    return "seen to"


@flow
def wait_for_future():
    future = say_hello.submit("Arthur")
    final_state = future.wait(30)  # at most 30 seconds
    if final_state:
        print(final_state.result())


@task
def step(name):
    print(f"step {name}")


@flow
def ordered():
    # No data goes from step to step, only the order is asked for.
    first = step.submit("a")
    second = step.submit("b", wait_for=[first])
    step.submit("c", wait_for=[first, second])


if __name__ == "__main__":
    type_of_future()
    future_as_argument()
    result_of_future()
    failed_future()
    wait_for_future()
    ordered()
